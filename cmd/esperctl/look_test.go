package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// long is a name as trainers and seeds have them.
const long = "an-experiment-with-a-name-that-goes-on-and-on-seed-7-lr-0.001-2026-11-30T12-00-00"

// answers are what a Nissa and a Weatherlight say that know one run.
func answers() map[string]string {
	run := `{"id":"` + long + `","state":"running","last_at":"2026-11-30T11:59:00Z","trainer":"trainer-` + long +
		`","reports":1234,"epoch":1234,"loss":0.123456789,"accuracy":null,"best_loss":"NaN",` +
		`"seeds":{"SEED_STAGE_TRAINING":2,"SEED_STAGE_FOSSILIZED":1}}`
	seed := `{"run":"` + long + `","id":"seed-` + long + `","blueprint":"BP021","slot":"encoder.layers.11.attention.output.dense",` +
		`"kernel":"` + strings.Repeat("a", 64) + `","stage":"SEED_STAGE_TRAINING","alpha":0.25,"paused":true,"reason":"not better than host",` +
		`"stages":[{"stage":"SEED_STAGE_GERMINATED","from":"2026-11-30T11:00:00Z","to":"2026-11-30T11:01:00Z"}]}`
	event := `{"seq":7,"run":"` + long + `","seed":"seed-` + long + `","at":"2026-11-30T11:59:00Z","kind":"gate","name":"SEED_GATE_G2_STABILITY",` +
		`"details":{"reason":"not better than host, by far\u001b[2J"}}`
	path := "/api/runs/" + long
	return map[string]string{
		"/api/runs":                  `{"runs":[` + run + `],"next":null,"head":7}`,
		path:                         run,
		path + "/seeds":              `{"seeds":[` + seed + `]}`,
		path + "/seeds/seed-" + long: `{"seed":` + seed + `,"points":[],"events":[` + event + `]}`,
		path + "/export":             "{\"line\":1}\n{\"line\":2}\n",
		"/api/events":                `{"events":[` + event + `]}`,
		"/api/alerts":                `{"alerts":[{"id":"0011223344556677","rule":"seed_culled_because_of_` + long + `","source":"kasmina","severity":"info","state":"firing","since":"2026-11-30T11:00:00Z","summary":"s"},{"id":"1","rule":"quiet","state":"inactive"}]}`,
		"/status":                    `{"state":"ready","version":"v1","uptime_s":3723.4567,"bus":"redis://h:6379/0","system_mode":"operational","alarms":[],` + statusRest,
		"/status?alarm":              `{"state":"not_ready","reason":"bus: gone","version":"v1","uptime_s":3,"system_mode":"degraded","alarms":[{"alarm":"bus_down","severity":"critical","since":"2026-11-30T11:00:00Z","detail":"` + long + long + `"}],` + statusRest,
		"/api/stream":                "retry: 1000\nid: 7\n\nid: 8\nevent: event\ndata: " + event + "\n\nid: 9\nevent: report\ndata: {\"epoch\":5,\"loss\":0.5,\"accuracy\":0.75}\n\n",
	}
}

const statusRest = `"workers":[{"name":"kasmina_prefetch_errors","state":"backing_off","restarts":3,"circuit":"closed",` +
	`"last_error":"` + long + `","uptime_s":12.5}],"streams":[{"role":"normal","depth":12,"lag":3,"slowest_group":"` + long + `"}],` +
	`"catalogue":{"blueprints":50,"kernels":35},"instances":{"self":"a","leader":"a","live":["a","b"]}}`

// served stands for both services, and is where the commands ask.
func served(t *testing.T, said map[string]string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, known := said[r.URL.Path]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			text = `{"error":"not in the store"}`
		}
		_, _ = fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	t.Chdir(t.TempDir())
	t.Setenv("WEATHERLIGHT_HTTP_ADDR", strings.TrimPrefix(server.URL, "http://"))
	t.Setenv("NISSA_URL", server.URL)
	t.Setenv("COLUMNS", "")
}

// reads are the commands that ask the services over HTTP.
var reads = [][]string{
	{"status"}, {"runs", "list"}, {"runs", "show", long}, {"seeds", "list"}, {"seeds", "list", "--run", long},
	{"seeds", "show", long, "seed-" + long}, {"trainers", "list"}, {"workers"}, {"alarms", "list"}, {"events"},
}

func TestEveryTableFitsAndEveryReadHasJSON(t *testing.T) {
	served(t, answers())
	for _, command := range reads {
		table := mustRun(t, command...)
		for line := range strings.Lines(table) {
			if width := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 80 {
				t.Errorf("%v: %d columns: %s", command, width, line)
			}
		}
		if strings.Contains(table, "\x1b") {
			t.Errorf("%v prints what a terminal obeys: %q", command, table)
		}
		for _, flags := range [][]string{{"--json"}, {"-o", "json"}} {
			printed := mustRun(t, append(command, flags...)...)
			if !json.Valid([]byte(printed)) || strings.Contains(printed, "\x1b") {
				t.Errorf("%v %v prints no JSON: %s", command, flags, printed)
			}
		}
		if wide := mustRun(t, append(command, "-o", "wide")...); strings.Contains(wide, "…") {
			t.Errorf("%v -o wide cuts: %s", command, wide)
		}
	}
	for command, want := range map[string]string{
		"runs list": "running", "status": "1h02m", "seeds list": "training", "events": "not better than host",
		"alarms list": "0011223344556677", "workers": "backing_off", "trainers list": "1234",
	} {
		if got := mustRun(t, strings.Fields(command)...); !strings.Contains(got, want) {
			t.Errorf("%s does not show %q:\n%s", command, want, got)
		}
	}
	t.Setenv("COLUMNS", "60")
	for line := range strings.Lines(mustRun(t, "runs", "list")) {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 60 {
			t.Errorf("wider than the terminal: %s", line)
		}
	}
}

// An operator's command does not make a silent run one that was just heard of.
func TestRunIsHeardOfByItsReports(t *testing.T) {
	said := answers()
	for _, path := range []string{"/api/runs", "/api/runs/" + long} {
		said[path] = strings.Replace(said[path], `"last_at":"2026-11-30T11:59:00Z"`, `"last_at":"`+time.Now().Format(time.RFC3339)+`","reported_at":"`+
			time.Now().Add(-3*time.Hour).Format(time.RFC3339)+`"`, 1)
	}
	served(t, said)
	for _, command := range [][]string{{"runs", "list"}, {"runs", "show", long}} {
		if printed := mustRun(t, command...); !strings.Contains(printed, "3h") {
			t.Errorf("%v:\n%s", command, printed)
		}
	}
}

// Opposite commands look unlike each other in the feed, and it says who sent them.
func TestFeedTellsCommandsApart(t *testing.T) {
	event := func(seq int, name, details string) string {
		return fmt.Sprintf(`{"seq":%d,"run":"r","seed":"s","at":"2026-11-30T11:59:00Z","kind":"command","name":%q,"source":"esperctl",`+
			`"details":{"reason":"drill","operator":"ann@desk"%s}}`, seq, name, details)
	}
	said := answers()
	events := []string{
		event(6, "EMERGENCY", `,"level":"EMERGENCY_LEVEL_HALT"`), event(5, "EMERGENCY", `,"level":"1"`),
		event(4, "EMERGENCY", `,"level":"EMERGENCY_LEVEL_CONSERVATIVE"`), event(3, "PAUSE", `,"resume":"true"`), event(2, "PAUSE", ""), event(1, "CULL", ""),
	}
	said["/api/events"] = `{"events":[` + strings.Join(events, ",") + `]}`
	served(t, said)
	want := []string{"cull", "pause", "resume", "mode conservative", "mode normal", "mode halt"}
	for _, line := range []string{"events", "events -o wide"} {
		printed := mustRun(t, strings.Fields(line)...)
		shown := slices.DeleteFunc(strings.Split(printed, "\n"), func(line string) bool { return !strings.Contains(line, "command") })
		if len(shown) != len(want) {
			t.Fatalf("%s:\n%s", line, printed)
		}
		for i, verb := range want {
			if !strings.Contains(shown[i], " "+verb+" ") || !strings.Contains(shown[i], "ann@desk: drill") {
				t.Errorf("%s does not say %q of ann@desk:\n%s", line, verb, shown[i])
			}
		}
	}
}

// A run whose seeds an emergency keeps out of the output does not look like one that grows.
func TestEmergencyOfARunIsShown(t *testing.T) {
	said := answers()
	for _, path := range []string{"/api/runs", "/api/runs/" + long} {
		said[path] = strings.Replace(said[path], `"state":"running"`, `"state":"conservative","emergency":"conservative","emergency_reason":"the loss is odd"`, 1)
	}
	served(t, said)
	for command, want := range map[string][]string{
		"runs list": {"conservative"}, "runs show " + long: {"conservative", "the loss is odd"}, "trainers list": {"conservative"},
		"status": {"1 conservative", "the loss is odd", "2 training"},
	} {
		printed := mustRun(t, strings.Fields(command)...)
		for _, word := range want {
			if !strings.Contains(printed, word) {
				t.Errorf("%s does not say %q:\n%s", command, word, printed)
			}
		}
	}
}

// TestReadsEndWithTheSameCodes compares each read with the table of the page.
func TestReadsEndWithTheSameCodes(t *testing.T) {
	var status int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, `{"error":"as it is"}`)
	}))
	defer server.Close()
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		status, code int
		address      string
		says         string
	}{
		{http.StatusNotFound, process.ExitFailed, server.URL, "as it is"},
		{http.StatusBadRequest, process.ExitConfiguration, server.URL, "as it is"},
		{http.StatusUnauthorized, process.ExitConfiguration, server.URL, "_HTTP_TOKEN"},
		{http.StatusServiceUnavailable, process.ExitDependency, server.URL, "try again"},
		{http.StatusOK, process.ExitFailed, server.URL, "another version"},
		{0, process.ExitDependency, "http://127.0.0.1:1", "start esper-"},
	} {
		status = test.status
		t.Setenv("WEATHERLIGHT_HTTP_ADDR", strings.TrimPrefix(test.address, "http://"))
		t.Setenv("NISSA_URL", test.address)
		for _, command := range append(reads, []string{"runs", "export", long}, []string{"runs", "follow", long}, []string{"events", "--follow"}) {
			if test.status == http.StatusOK && command[0] != "trainers" {
				continue // such an answer may be one
			}
			_, err := run(t, command...)
			if process.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v after %d: exit code %d, want %d: %v", command, test.status, process.ExitCode(err), test.code, err)
			}
		}
	}
	for _, line := range [][]string{{"rums"}, {"runs", "lst"}, {"runs", "show"}, {"seeds", "cull", "r", "s"}, {"mode", "loud", "--reason", "x"}, {"runs", "list", "--nope"}, {"runs", "list", "-o", "yaml"}, {"events", "--limit", "x"}} {
		if _, err := run(t, line...); process.ExitCode(err) != process.ExitConfiguration {
			t.Errorf("%v: exit code %d: %v", line, process.ExitCode(err), err)
		}
	}
	t.Setenv("NISSA_URL", "")
	t.Setenv("NISSA_HTTP_ADDR", "off")
	if _, err := run(t, "runs", "list"); process.ExitCode(err) != process.ExitConfiguration {
		t.Errorf("no address: %v", err)
	}
}

func TestExportIsTheWholeOrNothing(t *testing.T) {
	served(t, answers())
	if got := mustRun(t, "runs", "export", long); got != "{\"line\":1}\n{\"line\":2}\n" {
		t.Errorf("exported %q", got)
	}
	file := filepath.Join(t.TempDir(), "run.jsonl")
	mustRun(t, "runs", "export", long, "--file", file)
	if text, err := os.ReadFile(file); err != nil || string(text) != "{\"line\":1}\n{\"line\":2}\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
	none := filepath.Join(t.TempDir(), "none.jsonl")
	if _, err := run(t, "runs", "export", "none", "--file", none); err == nil {
		t.Error("a run that there is not was exported")
	}
	if left, err := os.ReadDir(filepath.Dir(none)); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// shutAfter fails after so many lines, as the pipe to head does.
type shutAfter struct {
	strings.Builder
	lines int
}

var errShut = errors.New("broken pipe")

func (s *shutAfter) Write(text []byte) (int, error) {
	if s.lines == 0 {
		return 0, errShut
	}
	s.lines--
	return s.Builder.Write(text)
}

func TestFollowingEndsWhenNobodyReads(t *testing.T) {
	served(t, answers())
	for _, test := range []struct {
		command []string
		lines   int
		want    []string
	}{
		{[]string{"events", "--follow"}, 1, []string{"not better than host"}},
		{[]string{"events", "--follow", "--kind", "gate", "--json"}, 1, []string{`"kind":"gate"`}},
		{[]string{"runs", "follow", long}, 2, []string{"not better than host", "epoch 5", "75.0%"}},
	} {
		out := &shutAfter{lines: test.lines}
		root := newRoot()
		root.SetArgs(test.command)
		root.SetOut(out)
		// The stand-in ends each stream at once, so that it is asked for anew until the pipe breaks.
		if err := execute(t.Context(), root); !errors.Is(err, errShut) {
			t.Errorf("%v ended with %v", test.command, err)
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "\x1b") {
				t.Errorf("%v prints %q", test.command, out.String())
			}
		}
	}
}
