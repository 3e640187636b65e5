package tamiyo

import (
	"fmt"
	"slices"
	"testing"
)

func TestReportsThatAreHistoryChangeNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]func(r *run) State{
		"the last one again": func(r *run) State { return r.last() },
		"an earlier one": func(r *run) State {
			state := r.last()
			state.Number--
			return state
		},
		"one of a trainer that lost the run": func(r *run) State {
			state := r.last()
			state.Number += 100
			r.restart("process-2", r.epoch+1)
			r.report(1)
			return state
		},
		"one that somebody published without its attributes": func(r *run) State {
			return State{Packet: packetOf(r.epoch+1, 1)}
		},
	}
	for name, history := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			r.stall()
			state := history(r)
			before := r.record
			for range 20 {
				decision := r.decide(state)
				if !decision.Repeated || decision.Record != nil || len(decision.Commands)+len(decision.Packets) > 0 {
					t.Fatalf("decision %+v", decision)
				}
			}
			if r.record != before {
				t.Error("the record changed")
			}
		})
	}
}

// Sixty states, captured and published again, once more from the first.
func TestCapturedStatesProduceNoCommands(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	var captured []State
	for range 60 {
		r.report(1)
		captured = append(captured, r.last())
	}
	for _, state := range captured {
		if decision := r.decide(state); len(decision.Commands) > 0 || !decision.Repeated {
			t.Fatalf("report %d again: %v", state.Number, operations(decision))
		}
	}
}

func TestWatchedRunsGoByEpochAndClock(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		epoch     uint32
		timestamp uint64
		repeated  bool
	}{
		"the next epoch":               {epoch: 6, timestamp: 1},
		"the same epoch":               {epoch: 5, timestamp: 9e18, repeated: true},
		"an earlier one, of then":      {epoch: 4, timestamp: 4e9, repeated: true},
		"an earlier one, of later on":  {epoch: 1, timestamp: 9e18},
		"an earlier one without clock": {epoch: 1, repeated: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWatchedRun(t, Config{})
			for range 5 {
				r.report(1)
			}
			packet := packetOf(test.epoch, 1)
			packet.TimestampNs = test.timestamp
			if got := r.decide(State{Packet: packet}).Repeated; got != test.repeated {
				t.Errorf("repeated %v, want %v", got, test.repeated)
			}
		})
	}
}

func TestTrainerThatStartsOverIsWatchedFromItsBeginning(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	first := r.stall()
	r.report(1, measuredSeed(first.GetTargetSeedId(), stageShadowing, -0.1))
	r.restart("process-2", 1)
	decision := r.report(5)
	report := onlyReport(t, decision, neutral, causeRestarted)
	if report.GetCommandId() != first.GetCommandId() {
		t.Errorf("report %v", report)
	}
	if got := events(decision); !slices.Equal(got, []string{"trainer_restarted"}) {
		t.Errorf("events %v", got)
	}
	for range 3 {
		if decision := r.report(5); len(decision.Commands)+len(decision.Reports)+len(events(decision)) > 0 {
			t.Fatalf("%v %v %v", operations(decision), decision.Reports, events(decision))
		}
	}
	second := only(t, r.report(5), "SEED_OP_GERMINATE")
	if second.GetSeedOperation().GetBlueprintId() != "BP002" {
		t.Error("a restart was held against a blueprint")
	}
	if second.GetTargetSeedId() == first.GetTargetSeedId() || second.GetCommandId() == first.GetCommandId() {
		t.Error("named like the first process's")
	}
}

func TestSeedsOfATrainerThatStartsOver(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before, after stage // UNKNOWN: not listed
		outcome       string
		stays         bool
	}{
		"gone":                    {stageTraining, stageUnknown, "NEUTRAL", false},
		"gone before it trained":  {stageGerminated, stageUnknown, "ABORTED", false},
		"further back":            {stageProbationary, stageTraining, "NEUTRAL", true},
		"where it was":            {stageBlending, stageBlending, "", true},
		"further on":              {stageTraining, stageBlending, "", true},
		"kept in the checkpoint":  {stageProbationary, stageFossilized, "SUCCESS", false},
		"culled in the meantime":  {stageProbationary, stageCulled, "NEUTRAL", false},
		"kept before, kept again": {stageFossilized, stageFossilized, "", false},
		"kept before, then gone":  {stageFossilized, stageUnknown, "", false},
	}
	for name, test := range tests {
		for _, epoch := range []uint32{2, 100} { // an earlier checkpoint, and one that lost nothing
			t.Run(fmt.Sprint(name, " at epoch ", epoch), func(t *testing.T) {
				t.Parallel()
				r := newRun(t, Config{})
				id := r.stall().GetTargetSeedId()
				r.report(1, seedState(id, test.before))
				r.restart("process-2", epoch)
				var decision Decision
				if test.after == stageUnknown {
					decision = r.report(1)
				} else {
					decision = r.report(1, seedState(id, test.after))
				}
				var outcomes []string
				for _, report := range decision.Reports {
					outcomes = append(outcomes, report.GetOutcome().String()[len("FIELD_REPORT_OUTCOME_"):])
				}
				var want []string
				if test.outcome != "" {
					want = []string{test.outcome}
				}
				if !slices.Equal(outcomes, want) || r.record.growing() > 0 != test.stays {
					t.Errorf("outcomes %v, want %v; %d growing", outcomes, want, r.record.growing())
				}
				if len(r.record.Slots) > 0 {
					t.Errorf("held against a blueprint: %v", r.record.Slots)
				}
			})
		}
	}
}

func TestSeedThatWasAskedForIsAwaitedOfTheNextTrainer(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	command := r.stall()
	r.restart("process-2", r.epoch+1)
	if decision := r.report(1); len(decision.Reports)+len(decision.Commands) > 0 {
		t.Fatalf("%v %v", decision.Reports, operations(decision))
	}
	r.report(1, seedState(command.GetTargetSeedId(), stageTraining))
	if s, _ := r.record.seed(command.GetTargetSeedId()); s.Germination != command.GetCommandId() || s.Pending.waits() {
		t.Errorf("seed %+v", s)
	}
}

func TestTrainerThatTakesOverIsGivenTimeAndNoAlarm(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	for range 4 {
		r.report(1)
	}
	r.restart("process-2", r.epoch+1)
	decision := r.report(2) // a checkpoint of worse days
	if got := events(decision); !slices.Equal(got, []string{"trainer_changed"}) {
		t.Errorf("events %v", got)
	}
	for range 3 {
		if decision := r.report(2); len(decision.Commands) > 0 {
			t.Fatal("patience of the last process ran on")
		}
	}
	only(t, r.report(2), "SEED_OP_GERMINATE")
}

func TestTrainerThatLearnsToGrowIsGrown(t *testing.T) {
	t.Parallel()
	r := newWatchedRun(t, Config{})
	for range 9 {
		r.report(1)
	}
	r.next = newRun(t, Config{}).next
	r.stall()
}

func TestRetiredTrainersAreBounded(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	for i := range 3 * maxRetired {
		r.restart(fmt.Sprint("process-", i), r.epoch+1)
		r.report(1)
	}
	if got := len(r.record.Retired); got != maxRetired {
		t.Errorf("%d retired trainers, want %d", got, maxRetired)
	}
}

func TestLostRecordIsMadeAgainFromWhatTheTrainerTells(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	r.record = nil
	r.next.Grafts = graftsOf(id, "layer1", "BP002")
	r.report(1, measuredSeed(id, stageProbationary, 0.1))
	command := only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if command.GetSeedOperation().GetBlueprintId() != "BP002" || command.GetAnnotations()["slot"] != "layer1" {
		t.Errorf("command %v", command)
	}
}

func TestTrainerThatLostTheRunHasItBackWhenNobodyElseReports(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.report(1)
	r.report(1)
	first := r.last()
	r.restart("process-2", r.epoch+1)
	r.report(1)
	again := first
	again.Number++
	if !r.decide(again).Repeated {
		t.Error("a late report of the former trainer has the run back")
	}
	r.now = r.now.Add(comeback)
	if !r.decide(first).Repeated {
		t.Error("a report that was evaluated before has the run back")
	}
	if decision := r.decide(again); decision.Repeated || !slices.Equal(events(decision), []string{"trainer_restarted"}) {
		t.Errorf("the only trainer that reports is not heard: %v", events(decision))
	}
}
