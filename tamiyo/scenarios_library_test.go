package tamiyo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// late is a library that does not answer in time.
func late(string) (Candidate, bool, error) {
	return Candidate{}, false, fmt.Errorf("ask the library: %w", context.DeadlineExceeded)
}

func TestScenario120_NothingIsCommandedWithoutSeedOrBlueprint(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 3})
	for range 10 {
		// Nobody tells what it is made of.
		for _, command := range r.report(1, measuredSeed("foreign", stageProbationary, -0.5)).Commands {
			if command.GetTargetSeedId() == "" || command.GetSeedOperation() != nil && command.GetSeedOperation().GetBlueprintId() == "" {
				t.Errorf("command %v", command)
			}
		}
	}
}

func TestScenario123_ALateLibraryGivesASafePauseAndABreakerThatDenies(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	asked := 0
	r.next.Blueprint = func(id string) (Candidate, bool, error) { asked++; return late(id) }
	for i, want := range []string{"count", "count", "open"} {
		decision := r.report(1, seedState(id, stageTraining))
		if got := attributesOf(t, decision, "breaker_event"); got["action"] != want || got["component"] != "metadata" {
			t.Errorf("step %d: breaker event %v", i, got)
		}
		health := decision.Packets[0].GetSystemHealth()
		if !slices.Contains(events(decision), "timeout_urza") || health.GetSummary() != "timeout_urza" && i == 0 ||
			health.GetIndicators()["priority"] != "MESSAGE_PRIORITY_CRITICAL" {
			t.Errorf("step %d: events %v, health %v", i, events(decision), health)
		}
		if i == 0 {
			pause := only(t, decision, "COMMAND_PAUSE")
			if pause.GetTargetSeedId() != id || pause.GetAnnotations()["risk_reason"] != "timeout_urza" {
				t.Errorf("pause %v", pause)
			}
		}
	}
	if r.record.Conservative.active() || asked != 3 {
		t.Errorf("conservative %v, asked %d times", r.record.Conservative, asked)
	}
	// Denied, nobody waits. What was not asked for is unknown: the seed stays paused.
	for range 2 {
		denied := r.report(1, measuredSeed(id, stageProbationary, 0.1))
		if got := attributesOf(t, denied, "blueprint_untold"); len(denied.Commands) > 0 || got["why"] != errDenied.Error() || asked != 3 {
			t.Errorf("commands %v, told %v, asked %d times", denied.Commands, got, asked)
		}
	}
	r.now = r.now.Add(time.Minute)
	r.next.Blueprint = func(id string) (Candidate, bool, error) { asked++; return know(safe("BP002", 9))(id) }
	answered := r.report(1, seedState(id, stageTraining))
	if got := attributesOf(t, answered, "breaker_event"); got["action"] != "close" || asked != 4 {
		t.Errorf("breaker event %v, asked %d times", got, asked)
	}
	if resume := only(t, answered, "COMMAND_PAUSE"); resume.GetAnnotations()["resume"] != "true" {
		t.Errorf("resume %v", resume)
	}
}

// openBreaker lets nobody ask the library for an hour.
func (r *run) openBreaker() {
	r.record.Library = breaker{Failures: breakerTrips - 1, Until: r.now.Add(time.Hour).UnixMilli()}
	r.next.Blueprint = func(id string) (Candidate, bool, error) {
		r.t.Errorf("asked about %s", id)
		return Candidate{}, false, nil
	}
}

func TestScenario123_AnOpenBreakerKeepsNoSeed(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	r.openBreaker()
	for range 4 {
		if decision := r.report(1, measuredSeed(id, stageProbationary, 0.1)); len(decision.Commands) > 0 {
			t.Fatalf("commands %v", operations(decision))
		}
	}
}

func TestScenario123_AnOpenBreakerAsksForNoSeedAgain(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.stall()
	r.openBreaker()
	for i := range 5 {
		decision := r.report(1)
		if len(decision.Commands) > 0 {
			t.Fatalf("commands %v", operations(decision))
		}
		if i+1 < effectEpochs {
			continue
		}
		if got := attributesOf(t, decision, "decision_explained"); got["held"] != "BP002 at layer1" || got["reason"] != "blueprint_untold" {
			t.Errorf("explained as %v", got)
		}
	}
	r.record.Library = breaker{}
	r.next.Blueprint = know(safe("BP002", 100))
	only(t, r.report(1), "SEED_OP_GERMINATE")
}

func TestScenario122_NoSeedIsBegunInAStepThatRanOutOfTime(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.candidates = func([]int) ([]Candidate, error) { return nil, fmt.Errorf("list: %w", context.DeadlineExceeded) }
	for range 8 {
		if decision := r.report(1); len(decision.Commands) > 0 {
			t.Fatalf("commands %v", operations(decision))
		}
	}
	r.candidates = func([]int) ([]Candidate, error) { return nil, errors.New("not asked") }
	if got := r.report(1); r.record.Library.Until == 0 || slices.Contains(events(got), "timeout_urza") {
		t.Errorf("breaker %+v, events %v", r.record.Library, events(got))
	}
	r.now = r.now.Add(time.Minute)
	r.candidates = offer(safe("BP002", 9))
	only(t, r.report(1), "SEED_OP_GERMINATE")
}
