package objectives_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/telemetry"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func keeper(t *testing.T, text string) (*objectives.Keeper, []rules.Objective) {
	t.Helper()
	file, err := rules.Parse([]byte("objectives:\n- {name: o, summary: s, "+text+"}"), "")
	if err != nil {
		t.Fatal(err)
	}
	return objectives.New(file.Objectives), file.Objectives
}

// counts is a packet of two counters.
func counts(at time.Time, source string, all, bad float64) *telemetry.Packet {
	return telemetry.At(source, "id", at).Metric("all", all, "").Metric("bad", bad, "")
}

const counted = "target: 0.99, total: all, bad: bad"

func TestCountersAreAddedUpBySender(t *testing.T) {
	k, _ := keeper(t, counted)
	for i, step := range []struct {
		source   string
		all, bad float64
	}{
		{"a", 1000, 500}, // before our time
		{"a", 1100, 501},
		{"b", 7, 0},
		{"b", 107, 1},
		{"a", 50, 0}, // set back to 0
	} {
		at := noon.Add(time.Duration(i) * time.Second)
		k.Observe(counts(at, step.source, step.all, step.bad).Build(), at)
	}
	status := k.Statuses(noon.Add(time.Minute))[0]
	if status.Count != (objectives.Count{Total: 250, Bad: 2}) {
		t.Errorf("counted %+v", status.Count)
	}
	if got := status.Left; math.Abs(got-0.2) > 1e-9 {
		t.Errorf("0.8 %% bad of 1 %% that may be: %.3f of the budget is left", got)
	}
}

func TestPointsAreJudged(t *testing.T) {
	k, _ := keeper(t, `target: 0.9, metric: slo.x_actual, good: 'value <= last("slo.x_objective")'`)
	for i, actual := range []float64{5, 9, 11, math.NaN()} {
		packet := telemetry.At("a", "id", noon).Metric("slo.x_objective", 10, "").Metric("slo.x_actual", actual, "")
		k.Observe(packet.Build(), noon.Add(time.Duration(i)))
	}
	if got := k.Statuses(noon)[0].Count; got != (objectives.Count{Total: 4, Bad: 2}) {
		t.Errorf("counted %+v", got)
	}
}

// The figures of the workbook: with 0.1 % that may be bad over 30 days, 1.5 % of errors wakes
// somebody after an hour and not before the budget of it is gone, and 0.15 % is a ticket.
func TestN18BudgetsBurnAsInTheWorkbook(t *testing.T) {
	tests := map[string]struct {
		share      float64
		lasts      time.Duration
		after      time.Duration // without errors
		fast, slow bool
	}{
		"all is well":               {0.0005, 72 * time.Hour, 0, false, false},
		"an outage of six minutes":  {1, 6 * time.Minute, 0, true, true},
		"an hour of 1.5 %":          {0.015, time.Hour, 0, true, false},
		"an hour of 1.4 %":          {0.014, time.Hour, 0, false, false},
		"six hours of 0.65 %":       {0.0065, 6 * time.Hour, 0, true, false},
		"a day of 0.31 %":           {0.0031, 24 * time.Hour, 0, false, true},
		"three days of 0.11 %":      {0.0011, 72 * time.Hour, 0, false, true},
		"an hour, and it is over":   {0.015, time.Hour, 31 * time.Minute, false, false},
		"an outage, and it is over": {1, 6 * time.Minute, 6*time.Hour + time.Minute, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k, _ := keeper(t, "target: 0.999, total: all, bad: bad")
			all, bad, at := 0.0, 0.0, noon
			k.Observe(counts(at, "a", 0, 0).Build(), at)
			minutes := func(length time.Duration, share float64) {
				for end := at.Add(length); at.Before(end); {
					at = at.Add(time.Minute)
					all, bad = all+10_000, bad+10_000*share
					k.Observe(counts(at, "a", all, bad).Build(), at)
				}
			}
			minutes(80*time.Hour-test.lasts, 0)
			minutes(test.lasts, test.share)
			minutes(test.after, 0)
			got := k.Statuses(at)[0].Burning
			if got[objectives.Fast] != test.fast || got[objectives.Slow] != test.slow {
				t.Errorf("burns %v, wanted fast %v, slow %v", got, test.fast, test.slow)
			}
		})
	}
}

// Senders tell their counters each ten seconds: a budget that burns does so without a break in what is
// told of it, however short its window is.
func TestBudgetsOfShortWindowsBurnWithoutABreak(t *testing.T) {
	for _, window := range []string{"1h", "2h", "6h", "1d"} {
		k, _ := keeper(t, counted+", window: "+window)
		changes, burning := 0, false
		for second := range 3600 {
			now := noon.Add(time.Duration(second) * time.Second)
			if second%10 == 0 {
				k.Observe(counts(now, "a", float64(second), float64(second)).Build(), now)
			}
			if is := k.Statuses(now)[0].Burning[objectives.Fast]; is != burning {
				changes, burning = changes+1, is
			}
		}
		if changes != 1 || !burning {
			t.Errorf("window of %s: it began or ended to burn %d times", window, changes)
		}
	}
}

func TestFewBadOnesAreNoOutage(t *testing.T) {
	k, _ := keeper(t, counted)
	k.Observe(counts(noon, "a", 0, 0).Build(), noon)
	k.Observe(counts(noon, "a", 2, 2).Build(), noon)
	if got := k.Statuses(noon)[0].Burning; got[objectives.Fast] || got[objectives.Slow] {
		t.Errorf("two bad ones burn: %v", got)
	}
}

func TestNothingIsKnownBeforeSomethingIsCounted(t *testing.T) {
	k, _ := keeper(t, counted)
	if status := k.Statuses(noon)[0]; status.Known || status.Left != 1 {
		t.Errorf("%+v", status)
	}
}

func TestN18CountsOutliveARestartAndTheirWindow(t *testing.T) {
	k, list := keeper(t, counted)
	k.Observe(counts(noon, "a", 0, 0).Build(), noon)
	k.Observe(counts(noon, "a", 100, 4).Build(), noon)
	text, err := json.Marshal(k.Kept())
	if err != nil {
		t.Fatal(err)
	}
	var kept objectives.Kept
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	after := objectives.New(list)
	after.Restore(kept)
	after.Observe(counts(noon.Add(time.Minute), "a", 150, 5).Build(), noon.Add(time.Minute))
	if got := after.Statuses(noon.Add(time.Minute))[0].Count; got != (objectives.Count{Total: 150, Bad: 5}) {
		t.Errorf("counted %+v", got)
	}
	if got := after.Statuses(noon.Add(31 * 24 * time.Hour))[0].Count; got.Total != 0 {
		t.Errorf("after a month: %+v", got)
	}
	after.Use(list)
	if got := after.Statuses(noon.Add(time.Minute))[0].Count; got.Total != 150 {
		t.Errorf("after a reload: %+v", got)
	}
}

func TestCountersAreBounded(t *testing.T) {
	k, _ := keeper(t, counted)
	for i := range 30_000 {
		k.Observe(counts(noon, fmt.Sprint(i), 1, 0).Build(), noon)
	}
	if got := len(k.Kept().Counters); got > 10_000 {
		t.Errorf("%d counters are kept", got)
	}
}

// Whatever time a packet says that it is of, those of others count.
func TestPacketsOfAnotherAgeBreakNoObjective(t *testing.T) {
	k, _ := keeper(t, counted)
	for i := range 5000 {
		for _, year := range []int{1, 1515, 1969} {
			at := time.Date(year, 1, 1, 0, i, 0, 0, time.UTC)
			k.Observe(counts(at, fmt.Sprint("odd-", year), float64(i), float64(i)).Build(), noon)
		}
	}
	k.Observe(counts(noon, "a", 0, 0).Build(), noon)
	k.Observe(counts(noon, "a", 1000, 1000).Build(), noon)
	status := k.Statuses(noon)[0]
	if status.Count != (objectives.Count{Total: 1000, Bad: 1000}) || !status.Burning[objectives.Fast] {
		t.Errorf("%+v", status)
	}
}
