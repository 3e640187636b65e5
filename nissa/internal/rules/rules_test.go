package rules_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

func TestShippedFileIsInOrder(t *testing.T) {
	file, err := rules.Parse(rules.Default(rules.Thresholds{}), "")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]rules.Rule{}
	for _, rule := range file.Rules {
		byName[rule.Name] = rule
	}
	wanted := []string{ // those of the prototype, and ours
		"tamiyo_coverage_low", "training_latency_high", "tolaria_graph_fallback", "tolaria_graph_replay_latency_high",
		"kasmina_isolation_violation", "oona_queue_depth", "tezzeret_compile_retry_high", "tamiyo_bsds_critical",
		"tamiyo_bsds_high", "tamiyo_bsds_elevated_risk",
		"bus_down", "workers_restarting", "bus_lag", "dead_letters", "outbox_waiting", "library_down", "halt", "rollback",
		"seed_culled", "run_silent", "run_stalled",
	}
	for _, name := range wanted {
		if _, found := byName[name]; !found {
			t.Errorf("no rule %s", name)
		}
	}
	if len(file.Objectives) == 0 || file.Grouping.Wait != 200*time.Millisecond {
		t.Errorf("%d objectives, grouping %+v", len(file.Objectives), file.Grouping)
	}
}

// Settings of the prototype set the limits of the shipped rules.
func TestThresholdsOfTheShippedFile(t *testing.T) {
	file, err := rules.Parse(rules.Default(rules.Thresholds{Coverage: 0.9, CoverageCount: 2, ElevatedRisk: 0.85}), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range file.Rules {
		switch rule.Name {
		case "tamiyo_coverage_low":
			if rule.Count != 2 || rule.When.String() != "value < 0.9" {
				t.Errorf("coverage: %d times %s", rule.Count, rule.When)
			}
		case "tamiyo_bsds_elevated_risk":
			if rule.When.String() != "value >= 0.85" {
				t.Errorf("risk: %s", rule.When)
			}
		}
	}
}

func TestAllFaultsAreToldAtOnceByLine(t *testing.T) {
	const text = `receivers:
  - name: chat
    url: https://example.org/x
    url_file: y
rules:
  - name: "two words"
    summary: s
    severity: loud
    metric: m
    when: value <
  - name: b
    summary: s
    severity: info
    event: e
    receivers: [nobody]
  - name: b
    severity: info
    metric: m
    event: e
objectives:
  - name: o
    summary: s
    target: 99.9
    metric: m
`
	_, err := rules.Parse([]byte(text), "")
	faults, is := errors.AsType[rules.FaultsError](err)
	if !is {
		t.Fatalf("%T: %v", err, err)
	}
	for _, wanted := range []string{
		"line 2: url and url_file", "line 4: there are no files", "line 6: a rule needs a name", "line 8: a severity", "line 10: value <",
		"line 11: an event needs clear", "line 15: there is no receiver", "line 16: there are two",
		"line 16: a rule looks at", "line 16: a summary", "line 21: metric and good", "line 23: a target",
	} {
		if !slices.ContainsFunc(faults, func(fault string) bool { return strings.HasPrefix(fault, wanted) }) {
			t.Errorf("no fault %q", wanted)
		}
	}
	if len(faults) != 12 {
		t.Errorf("faults:\n%v", err)
	}
}

func TestWhatIsNotUnderstoodIsRefusedWithItsLine(t *testing.T) {
	for text, wanted := range map[string]string{
		"":                               "it is empty",
		"rules: 3":                       "line 1: cannot unmarshal",
		"rules:\n- name: a\n  limit: 3":  "line 3: field limit not found",
		"grouping:\n  wait: soon":        `line 2: "soon" is no duration`,
		"grouping: {wait: 1s, wait: 2s}": "already defined",
		"rules: []\n---\nrules: []":      "more than one document",
		"rules: [":                       "line 1",
		"objectives:\n- {name: o, summary: s, target: 0.9, metric: m, good: 'count(\"5m\") > 1'}": "line 2: each point is judged by itself",
		"rules:\n- {name: r, summary: s, severity: info, metric: m, when: value > 1, quiet: 1m}":  "line 2: quiet is of events",
		"rules:\n- {name: r, summary: s, severity: info, metric: m, absent: 1m, clear: e}":        "line 2: what is absent clears",
		"receivers:\n- {name: a, url_file: b}":                                                    "line 2: there are no files beside this one",
	} {
		_, err := rules.Parse([]byte(text), "")
		if err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%q: %v, wanted %q", text, err, wanted)
		}
	}
}

// A duration that cannot be read hides nothing, and nothing follows from it.
func TestFaultOfADurationHidesNoOther(t *testing.T) {
	const text = `grouping:
  wait: soon
rules:
  - {name: a, summary: s, severity: info, event: e, quiet: later}
  - {name: b, summary: s, severity: info, metric: m, absent: never}
  - {name: c, summary: s, severity: loud, metric: m, when: value > 1, for: 5}
objectives:
  - {name: o, summary: s, target: 0.9, metric: m, good: value < 5, window: always}
`
	_, err := rules.Parse([]byte(text), "")
	faults, _ := errors.AsType[rules.FaultsError](err)
	want := []string{`line 2: "soon" is no duration`, `line 4: "later" is no`, `line 5: "never" is no`, "line 6: a severity", `line 6: "5" is no`, `line 8: "always" is`}
	for i, say := range want {
		if i >= len(faults) || !strings.HasPrefix(faults[i], say) {
			t.Errorf("no fault %q", say)
		}
	}
	if len(faults) != len(want) {
		t.Errorf("faults:\n%v", err)
	}
}

// A webhook's URL holds its secret, and what is told is nobody else's: http stays on the machine.
func TestReceiversAreNotToldInTheClear(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "x.url"), []byte("http://192.0.2.1/token"), 0o600); err != nil {
		t.Fatal(err)
	}
	for said, refused := range map[string]bool{
		"url: 'http://hooks.example.org/token'": true, "url: 'HTTP://192.0.2.1/token'": true, "url: 'http://[2001:db8::1]:80/'": true, "url_file: x.url": true,
		"url: 'http://localhost:8080/x'": false, "url: 'http://127.0.0.1:8080/x'": false, "url: 'http://[::1]/x'": false,
		"url: 'https://hooks.example.org/token'": false, "url: 'alertmanager+http://alertmanager:9093'": false, "url: 'slack://token@channel'": false,
	} {
		file, err := rules.Parse([]byte("receivers:\n- name: a\n  "+said), folder)
		if (err != nil) != refused || refused && !strings.HasPrefix(err.Error(), "line 3: ") || strings.Contains(fmt.Sprint(err), "token") {
			t.Errorf("%s: %v", said, err)
		}
		if err == nil && file.Receivers[0].Line != 3 {
			t.Errorf("%s: line %d", said, file.Receivers[0].Line)
		}
	}
}

func condition(t *testing.T, text string) (*rules.Condition, error) {
	t.Helper()
	file, err := rules.Parse(fmt.Appendf(nil, "rules: [{name: r, summary: s, severity: info, metric: m, when: %q}]", text), "")
	if err != nil {
		return nil, err
	}
	return file.Rules[0].When, nil
}

func TestConditions(t *testing.T) {
	env := rules.Env{
		Source: "tamiyo", Name: "m", Value: 3, Level: "warning", Labels: map[string]string{"run": "r1"},
		Increase: func(window string) float64 { return map[string]float64{"5m": 4}[window] },
		Last:     func(string) float64 { return 7 },
	}
	for text, want := range map[string]bool{
		`value > 2`:                                          true,
		`value > 2 && source == "kasmina"`:                   false,
		`increase("5m") >= 4`:                                true,
		`last("other") == 7`:                                 true,
		`labels["run"] startsWith "r"`:                       true,
		`labels.missing == ""`:                               true,
		`level in ["warning", "error"]`:                      true,
		`abs(value - 5) <= 2`:                                true,
		`name matches "^m$" ? value == 3 : false`:            true,
		`let twice = value * 2; twice == 6 && not (value<0)`: true,
	} {
		holds, err := condition(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := holds.Holds(env); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestConditionsKnowWhatTheyLookBackAt(t *testing.T) {
	c, err := condition(t, `increase("5m") > 0 && average("1h") > 1 && last("a") > last("b") && last("a") > 0`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Window() != time.Hour || !slices.Equal(c.Metrics(), []string{"a", "b"}) {
		t.Errorf("looks back %s at %v", c.Window(), c.Metrics())
	}
}

// What a condition costs is bounded when it is compiled: there are no loops, and no more than
// it asks for is kept.
func TestConditionsThatAreRefused(t *testing.T) {
	for _, text := range []string{
		`value`,                                      // not true or false
		`unknown > 2`,                                // no such name
		`value > "two"`,                              // not the same type
		`all(1..1000000, # > 0)`,                     // a loop
		`len(1..10000000) > 0`,                       // a large list
		`filter(["a"], true) == []`,                  // a loop
		`increase("7h") > 0`,                         // longer than is kept
		`increase("soon") > 0`,                       // no window
		`increase(name) > 0`,                         // not known beforehand
		`last(name + "x") > 0`,                       // not known beforehand
		`value ** 1000 > 2`,                          // an operator that is not needed
		strings.Repeat("value > 1 && ", 200) + "1>0", // too large
		strings.Repeat(" ", 5000) + "true",           // too long
	} {
		if _, err := condition(t, text); err == nil {
			t.Errorf("%.40s is taken", text)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: the fault is not one line: %v", text, err)
		}
	}
}

func TestURLsComeFromFilesBesideAndAreNeverShown(t *testing.T) {
	folder := t.TempDir()
	const secret = "slack://token-a@channel"
	if err := os.WriteFile(filepath.Join(folder, "chat.url"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := rules.Parse([]byte("receivers: [{name: chat, url_file: chat.url}, {name: x, url: 'discord://secret@id'}]"), folder)
	if err != nil {
		t.Fatal(err)
	}
	if got := file.Receivers[0].URL.Reveal(); got != secret {
		t.Errorf("URL %q", got)
	}
	shown, err := json.Marshal(file.Receivers)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(shown), fmt.Sprintf("%v %+v %#v %s", file.Receivers, file.Receivers, file.Receivers, file.Receivers[0].URL)} {
		if strings.Contains(text, "token-a") || strings.Contains(text, "secret@") {
			t.Errorf("a URL is shown: %s", text)
		}
	}
	if _, err := rules.Parse([]byte("receivers:\n- name: a\n  url_file: gone"), folder); err == nil || !strings.Contains(err.Error(), "line 3: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(rules.Default(rules.Thresholds{}))
	f.Add([]byte("rules: [{name: r, summary: s, severity: info, metric: m, when: 'value > last(\"a\")'}]"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := rules.Parse(text, "")
		if (file == nil) == (err == nil) {
			t.Fatalf("file %v, error %v", file, err)
		}
		if err != nil {
			return
		}
		for _, rule := range file.Rules {
			if rule.When != nil {
				_, _ = rule.When.Holds(rules.Env{Increase: func(string) float64 { return 0 }, Labels: map[string]string{}})
			}
		}
	})
}

func TestN31RehearsalsTellNobodyOutsideAndEndSoon(t *testing.T) {
	const text = `receivers: [{name: chat, url: "slack://secret"}]
rules:
- {name: r, summary: s, severity: info, event: e, quiet: 30m, for: 10m, receivers: chat}
- {name: q, summary: s, severity: info, metric: m, absent: 10m, match: {a: [b, c]}, by: d}
objectives: [{name: o, summary: s, target: 0.9, metric: m, good: value < 5}]
`
	written, err := rules.Rehearsal([]byte(text), "", func(name string) string { return "http://127.0.0.1/" + name })
	if err != nil {
		t.Fatal(err)
	}
	file, err := rules.Parse(written, "")
	if err != nil {
		t.Fatalf("%v in\n%s", err, written)
	}
	if strings.Contains(string(written), "secret") || file.Receivers[0].URL.Reveal() != "http://127.0.0.1/chat" {
		t.Errorf("written:\n%s", written)
	}
	r, q, o := file.Rules[0], file.Rules[1], file.Objectives[0]
	if r.Quiet > time.Second || r.For >= r.Quiet || q.Absent > time.Second {
		t.Errorf("quiet %s, for %s, absent %s", r.Quiet, r.For, q.Absent)
	}
	if !slices.Equal(r.Receivers, []string{"chat", rules.Rehearser}) || !slices.Equal(o.Receivers, []string{rules.Rehearser}) {
		t.Errorf("receivers %v, %v", r.Receivers, o.Receivers)
	}
	if !slices.Equal(q.Match["a"], []string{"b", "c"}) || !slices.Equal(q.By, []string{"d"}) {
		t.Errorf("match %v, by %v", q.Match, q.By)
	}
}
