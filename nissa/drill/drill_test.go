package drill_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/nissa/drill"
)

func TestScenario50_EveryShippedRuleArrivesAndEnds(t *testing.T) {
	results, err := drill.Run(t.Context(), drill.Config{Rules: nissa.ShippedRules(nissa.Thresholds{})})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) < 25 {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		if r.Fault != "" {
			t.Errorf("%s: %s", r.Rule, r.Fault)
		}
		t.Logf("%-34s raised %-8s cleared %-8s %s", r.Rule, r.Raised.Round(time.Millisecond), r.Cleared.Round(time.Millisecond),
			strings.Join(r.Receivers, ","))
	}
}

// What cannot be raised is told, and so is a rule whose alert does not arrive.
func TestRulesThatCannotBeRaisedAreTold(t *testing.T) {
	const text = `
rules:
- {name: never, summary: s, severity: info, metric: m, when: value > 1 && value < 1}
- {name: odd, summary: s, severity: info, event: e, quiet: 1h, when: labels.colour == "red"}
- {name: works, summary: s, severity: info, metric: m, when: value > last("limit"), count: 2, by: [run]}
objectives:
- {name: always, summary: s, target: 0.9, metric: m, good: value == value}
`
	results, err := drill.Run(t.Context(), drill.Config{Rules: []byte(text), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false, true} {
		if (results[i].Fault != "") != want {
			t.Errorf("%+v", results[i])
		}
	}
}

func TestBadFilesAreNotDrilled(t *testing.T) {
	if _, err := drill.Run(t.Context(), drill.Config{Rules: []byte("rules: 3")}); err == nil {
		t.Error("a bad file is drilled")
	}
}
