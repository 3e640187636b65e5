package tamiyo

import (
	"cmp"
	"slices"
	"testing"
)

// What an operator took out, or what went along with another, was no failure of its blueprint.
func TestBlueprintIsSparedForWhatItsSeedCouldNotHelp(t *testing.T) {
	t.Parallel()
	for reason, spared := range map[string]bool{
		"retired": true, "withdrawn": true, "pruned": true, "rolled_back_with_another": true,
		"": false, "rolled_back": false, "impact regressed": false, "removed_by_host": false,
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			id := r.stall().GetTargetSeedId()
			r.report(1, measuredSeed(id, stageShadowing, -0.1))
			r.next.Gone = goneFor(map[string]string{id: reason, "another": "retired"})
			r.report(1)
			reports := r.report(1).Reports
			if len(reports) != 1 || Spares(reports[0]) != spared || (reports[0].GetOutcome() == neutral) != spared {
				t.Fatalf("reports %v", reports)
			}
			if want := cmp.Or(reason, "removed_by_host"); reports[0].GetNotes() != want {
				t.Errorf("the report says %q, want %q", reports[0].GetNotes(), want)
			}
			slot := r.record.Slots["layer1"]
			if slices.Contains(slot.WrittenOff, "BP002") == spared || (slot.Setbacks["BP002"] == 1) != spared {
				t.Errorf("slot %+v", slot)
			}
		})
	}
}

// goneFor tells why seeds were ended, by their ids.
func goneFor(reasons map[string]string) func(string) string {
	return func(id string) string { return reasons[id] }
}

// We know best why we had a seed taken out.
func TestSeedThatWeCulledIsNotSpared(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	for range regressionEpochs {
		r.report(1, measuredSeed(id, stageShadowing, -0.1))
	}
	r.next.Gone = goneFor(map[string]string{id: "retired"})
	report := onlyReport(t, r.report(1), regressed, causeRegression)
	if Spares(report) || !slices.Contains(r.record.Slots["layer1"].WrittenOff, "BP002") {
		t.Errorf("spared, slot %+v", r.record.Slots["layer1"])
	}
}

func TestBlueprintOfASeedThatARestartLeftOutIsSpared(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	r.report(1, measuredSeed(id, stageShadowing, 0.1))
	r.restart("process-2", 2)
	if report := onlyReport(t, r.report(1), neutral, causeRestarted); !Spares(report) {
		t.Error("it counts")
	}
}
