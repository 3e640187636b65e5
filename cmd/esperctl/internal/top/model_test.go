package top

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
	"github.com/esper-lite/weatherlight/oona/admin"
)

var update = flag.Bool("update", false, "write the golden views")

var now = time.Date(2026, time.November, 30, 12, 0, 0, 0, time.UTC)

// hostile is a name that would clear the screen of a terminal that obeyed it.
const hostile = "run-\x1b[2J-evil"

func decoded[T any](t *testing.T, said string) *T {
	t.Helper()
	value := new(T)
	if err := json.Unmarshal([]byte(said), value); err != nil {
		t.Fatal(err)
	}
	return value
}

// told are three runs, eight seeds in all kinds of stages, and what happened.
func told(t *testing.T) *look.Known {
	t.Helper()
	at := func(ago time.Duration) string { return now.Add(-ago).Format(time.RFC3339) }
	run := func(id, state string, epoch int, loss string, ago time.Duration, seeds string) string {
		quoted, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"id":%s,"state":%q,"last_at":%q,"trainer":"trainer-7","led_since":%q,"reports":%d,"epoch":%d,"loss":%s,`+
			`"accuracy":0.9231,"best_loss":0.1,"seeds":%s}`, quoted, state, at(ago), at(time.Hour), epoch, epoch, loss, seeds)
	}
	seed := func(n int, stage, was, alpha, reason string) string {
		return fmt.Sprintf(`{"run":"digits-1","id":"seed-digits-1-%d-BP%03d","blueprint":"BP%03d","slot":"encoder.layers.%d.output","kernel":"abc",`+
			`"stage":"SEED_STAGE_%s","stage_at":%q,"alpha":%s,"reason":%q,"stages":[{"stage":"SEED_STAGE_%s","from":%q,"to":%q}]}`,
			n, n, n, n, stage, at(time.Duration(n)*time.Minute), alpha, reason, was, at(time.Hour), at(50*time.Minute))
	}
	event := func(n int, kind, name, why string) string {
		return fmt.Sprintf(`{"seq":%d,"run":"digits-1","seed":"seed-digits-1-%d-BP%03d","at":%q,"kind":%q,"name":%q,"source":"kasmina",`+
			`"details":{"reason":%q,"loss":"0.25"}}`, n, n, n, at(time.Duration(n)*time.Second), kind, name, why)
	}
	runs := []string{
		run("digits-1", "running", 120, "0.1834", time.Second, `{"SEED_STAGE_TRAINING":2,"SEED_STAGE_FOSSILIZED":1}`),
		run(hostile, "halted", 4, `"NaN"`, 3*time.Minute, `{}`),
		run("an-experiment-with-a-name-that-goes-on-and-on-seed-7", "silent", 1204, "0.05", 30*time.Hour, `{"SEED_STAGE_FOSSILIZED":3}`),
	}
	seeds := []string{
		seed(1, "GERMINATED", "DORMANT", "0", ""), seed(2, "TRAINING", "GERMINATED", "0", ""), seed(3, "BLENDING", "TRAINING", "0.25", ""),
		seed(4, "SHADOWING", "BLENDING", "1", ""), seed(5, "PROBATIONARY", "SHADOWING", "1", ""), seed(6, "FOSSILIZED", "PROBATIONARY", "1", ""),
		seed(7, "CULLED", "BLENDING", "0", "not better than host"), seed(8, "DORMANT", "DORMANT", "0", ""),
	}
	events := []string{
		event(1, "stage", "SEED_STAGE_FOSSILIZED", "G4 passed"), event(2, "gate", "SEED_GATE_G2_STABILITY", "not better than host, by far"),
		event(3, "command", "seed_operation", "an operator said so, with a reason that is longer than any line of a terminal that people use"),
	}
	return decoded[look.Known](t, fmt.Sprintf(`{"Runs":[%s],"Seeds":[%s],"Events":[%s],"Raised":[{"id":"0011","from":"nissa",`+
		`"name":"seeds_culled","severity":"warning","state":"firing","since":%q,"detail":"3 of 4 in an hour"}]}`,
		strings.Join(runs, ","), strings.Join(seeds, ","), strings.Join(events, ","), at(10*time.Minute)))
}

func service(t *testing.T) *look.Service {
	t.Helper()
	return decoded[look.Service](t, `{"state":"ready","uptime_s":3723,"system_mode":"operational","instances":{"leader":"a","live":["a","b"]},`+
		`"alarms":[{"alarm":"telemetry_backlog","subject":"nissa-service","severity":"critical","since":"2026-11-30T11:59:00Z","detail":"5,000 wait"}]}`)
}

func bus() []admin.StreamView {
	group := func(name string, behind, pending int64, idle time.Duration) admin.GroupView {
		return admin.GroupView{
			Name: name, Pending: pending, Behind: &behind, Delivered: "7-0",
			Consumers: []admin.ConsumerView{{Name: name + "-1", Pending: pending, Idle: idle}},
		}
	}
	return []admin.StreamView{
		{Name: "oona.normal", Entries: 1300, LastID: "9-0", Groups: []admin.GroupView{
			group("weatherlight", 0, 2, 40*time.Millisecond), group("nissa-service", 5000, 64, 2*time.Hour), {Name: "never", Pending: 0},
		}},
		{Name: "oona.telemetry", Entries: 12, LastID: "8-0", Groups: []admin.GroupView{group("nissa-service", 12, 0, time.Second)}},
		{Name: "oona.policy", Entries: 0},
	}
}

// after is a model that was told all of that and then had keys pressed.
func after(t *testing.T, keys ...string) model {
	t.Helper()
	m := newModel(false, now)
	return send(t, m, slices.Concat([]tea.Msg{
		fromService{service(t), nil, now}, fromNissa{told(t), nil, now}, fromBus{bus(), nil, now},
	}, pressed(keys...))...)
}

func send(t *testing.T, m model, messages ...tea.Msg) model {
	t.Helper()
	for _, message := range messages {
		next, _ := m.Update(message)
		m = next.(model)
	}
	return m
}

// pressed are keys by their names, and the letters of a word that is none.
func pressed(keys ...string) (messages []tea.Msg) {
	special := map[string]rune{
		"tab": tea.KeyTab, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown,
		"backspace": tea.KeyBackspace, "end": tea.KeyEnd,
	}
	for _, key := range keys {
		if code, is := special[key]; is {
			messages = append(messages, tea.KeyPressMsg{Code: code})
			continue
		}
		for _, letter := range key {
			messages = append(messages, tea.KeyPressMsg{Code: letter, Text: string(letter)})
		}
	}
	return messages
}

var errAway = errors.New("nissa does not answer at http://127.0.0.1:9100 (connection refused): start esper-nissa-service")

// TestViews compares screens with those that are kept: go test ./cmd/esperctl/internal/top -update.
func TestViews(t *testing.T) {
	away := fromNissa{nil, errAway, now.Add(90 * time.Second)}
	nobody := []tea.Msg{fromService{nil, errAway, now}, fromNissa{nil, errAway, now}, fromBus{nil, errAway, now}}
	for name, m := range map[string]model{
		"first":    newModel(false, now),
		"all":      after(t),
		"seeds":    after(t, "2", "down", "down"),
		"streams":  after(t, "3", "sssS"),
		"filter":   after(t, "2", "/blend"),
		"filtered": after(t, "2", "/no such", "enter"),
		"run":      after(t, "enter"),
		"seed":     after(t, "2", "down", "enter"),
		"group":    after(t, "3", "down", "enter"),
		"alarm":    after(t, "4", "enter"),
		"event":    after(t, "5", "end", "enter"),
		"away":     send(t, after(t), away),
		"nobody":   send(t, newModel(false, now), nobody...),
	} {
		for _, size := range [][2]int{{80, 24}, {120, 40}, {40, 24}} {
			screen := send(t, m, tea.WindowSizeMsg{Width: size[0], Height: size[1]}).View().Content
			fits(t, name, screen, size[0], size[1])
			golden(t, filepath.Join("testdata", fmt.Sprintf("%s-%dx%d.txt", name, size[0], size[1])), screen)
		}
	}
}

func fits(t *testing.T, name, screen string, width, height int) {
	t.Helper()
	lines := strings.Split(screen, "\n")
	if len(lines) != height {
		t.Errorf("%s has %d lines on %d", name, len(lines), height)
	}
	for _, line := range lines {
		if lipgloss.Width(line) > width || strings.Contains(line, "\x1b") {
			t.Errorf("%s at %d columns: %q", name, width, line)
		}
	}
}

func golden(t *testing.T, file, screen string) {
	t.Helper()
	var kept strings.Builder
	for line := range strings.Lines(screen) {
		kept.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(kept.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != kept.String() {
		t.Errorf("%s is (%v)\n%s", file, err, kept.String())
	}
}

// TestEverySizeIsDrawn: no size of a terminal, in no state, breaks the screen.
func TestEverySizeIsDrawn(t *testing.T) {
	for _, keys := range [][]string{nil, {"5", "enter"}, {"3"}, {"2", "/x"}, {"2", "/x", "enter"}} {
		m := after(t, keys...)
		for _, width := range []int{1, 2, 3, 9, 17, 25, 39, 40, 41, 64, 80, 100, 139} {
			for _, height := range []int{1, 2, 4, 5, 9, 13, 14, 15, 24, 60} {
				fits(t, fmt.Sprint(keys), send(t, m, tea.WindowSizeMsg{Width: width, Height: height}).View().Content, width, height)
			}
		}
	}
}

func TestTrack(t *testing.T) {
	for stages, want := range map[string]string{
		"GERMINATED":                  "━●·····",
		"DORMANT":                     "●······",
		"DORMANT GERMINATED TRAINING": "━━●····",
		"GERMINATED TRAINING BLENDING FOSSILIZED":              "━━━━━━✓",
		"TRAINING BLENDING CULLED":                             "━━━✕···",
		"TRAINING BLENDING CULLED EMBARGOED RESETTING DORMANT": "━━━✕···",
		"CULLED":                 "✕······",
		"FOSSILIZED TERMINATED":  "━━━━━━✕",
		"of-a-later-version":     "✕······",
		"BLENDING TRAINING":      "━━●····",
		"SHADOWING PROBATIONARY": "━━━━━●·",
	} {
		names := strings.Fields(stages)
		s := look.Seed{Stage: "SEED_STAGE_" + names[len(names)-1]}
		said := make([]string, len(names))
		for i, name := range names {
			said[i] = fmt.Sprintf(`{"stage":"SEED_STAGE_%s"}`, name)
		}
		s.Stages = decoded[look.Seed](t, `{"stages":[`+strings.Join(said, ",")+`]}`).Stages
		if shown, _ := track(&s); shown != want {
			t.Errorf("%s is %s, want %s", stages, shown, want)
		}
	}
}

// chosen is the id of the row that somebody is at.
func chosen(m model) string {
	p := &m.panes[m.focus]
	rows, at := p.shown()
	if len(rows) == 0 {
		return ""
	}
	return rows[at].id
}

func TestKeys(t *testing.T) {
	seed := func(n int) string { return fmt.Sprintf("digits-1 seed-digits-1-%d-BP%03d", n, n) }
	for _, test := range []struct {
		keys  []string
		focus int
		at    string
	}{
		{nil, runPane, "digits-1"},
		{[]string{"down"}, runPane, hostile},
		{[]string{"j", "j", "j", "k"}, runPane, hostile},
		{[]string{"G"}, runPane, "an-experiment-with-a-name-that-goes-on-and-on-seed-7"},
		{[]string{"Gg"}, runPane, "digits-1"},
		{[]string{"tab"}, seedPane, seed(1)},
		{[]string{"hh"}, alarmPane, "weatherlight telemetry_backlog nissa-service "},
		{[]string{"5"}, feedPane, "1"},
		{[]string{"tab", "tab", "tab", "tab", "tab"}, runPane, "digits-1"},
		// By stage on the track, from the first; turned from the last.
		{[]string{"2", "ss"}, seedPane, seed(8)},
		{[]string{"2", "ssS"}, seedPane, seed(6)},
		{[]string{"2", "S"}, seedPane, seed(8)},
		// By loss: what is no number comes last. Once through all columns it is as it was told.
		{[]string{"ssss"}, runPane, "an-experiment-with-a-name-that-goes-on-and-on-seed-7"},
		{[]string{"ssss", "end"}, runPane, hostile},
		{[]string{"ssssssssss"}, runPane, "digits-1"},
		{[]string{"3", "sss", "S"}, streamPane, "oona.policy"},
		{[]string{"2", "/CULL", "enter"}, seedPane, seed(7)},
		{[]string{"2", "/CULx", "backspace", "enter"}, seedPane, seed(7)},
		{[]string{"2", "/CULL", "esc"}, seedPane, seed(1)},
		{[]string{"2", "/CULL", "enter", "esc"}, seedPane, seed(1)},
		{[]string{"2", "/q1/", "enter"}, seedPane, ""},
		{[]string{"2", "/CULL", "enter", "1"}, runPane, "digits-1"},
	} {
		if m := after(t, test.keys...); m.focus != test.focus || chosen(m) != test.at {
			t.Errorf("%v: pane %d at %q, want %d at %q", test.keys, m.focus, chosen(m), test.focus, test.at)
		}
	}
}

func TestWhatIsChosenStays(t *testing.T) {
	m := after(t, "2", "down", "down")
	was := chosen(m)
	known := told(t)
	slices.Reverse(known.Seeds)
	if m = send(t, m, fromNissa{known, nil, now}); chosen(m) != was {
		t.Errorf("in another order %q was chosen, now %q", was, chosen(m))
	}
	known.Seeds = known.Seeds[:2]
	if m = send(t, m, fromNissa{known, nil, now}); chosen(m) == "" || chosen(m) == was {
		t.Errorf("one that is gone is chosen: %q", chosen(m))
	}
	m = send(t, m, pressed("enter")...)
	known.Seeds = nil
	if m = send(t, m, fromNissa{known, nil, now}); !strings.Contains(m.View().Content, "it is gone") {
		t.Errorf("one that is gone is looked into:\n%s", m.View().Content)
	}
}

func TestLeaving(t *testing.T) {
	for _, test := range []struct {
		keys        []string
		quits, well bool
	}{
		{[]string{"q"}, true, true},
		{[]string{"/", "q"}, false, false},
		{[]string{"enter", "q"}, true, true},
		{[]string{"j"}, false, false},
	} {
		m := after(t, test.keys[:len(test.keys)-1]...)
		next, command := m.Update(pressed(test.keys[len(test.keys)-1])[0])
		if (command != nil) != test.quits || next.(model).ended != test.well {
			t.Errorf("%v: quits %v, ended %v", test.keys, command != nil, next.(model).ended)
		}
	}
	next, command := after(t, "/x").Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
	if command == nil || next.(model).ended {
		t.Error("Ctrl-C does not stop it while a filter is typed")
	}
}

// TestColours: they are there for a terminal, and never a part of what is shown.
func TestColours(t *testing.T) {
	m := after(t)
	m.colours = true
	if coloured := m.View().Content; !strings.Contains(coloured, "\x1b[") || strings.Contains(coloured, "\x1b[2J") {
		t.Errorf("colours: %q", coloured)
	}
}
