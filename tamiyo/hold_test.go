package tamiyo

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// paused begins a run whose loss jumps while a seed blends, so that it is to leave the output.
func pausedRun(t *testing.T, interval time.Duration) (r *run, id string) {
	t.Helper()
	r = newRun(t, Config{})
	r.interval = interval
	id = r.stall().GetTargetSeedId()
	r.report(1, seedState(id, stageBlending))
	only(t, r.report(2, seedState(id, stageBlending)), "COMMAND_PAUSE")
	return r, id
}

// shownSeed is in the output, whatever was asked for.
func shownSeed(id string, at stage) *leyline.SeedState {
	state := seedState(id, at)
	state.Metrics = map[string]float32{trainer.MetricPaused: 0}
	return state
}

// pauses counts the commands of some reports that take a seed out of the output, or put it back.
func (r *run) pauses(reports int, loss float32, state func(string, stage) *leyline.SeedState, id string) (out, back int) {
	r.t.Helper()
	for i := range reports {
		for _, command := range r.report(loss*(1+float32(i)), state(id, stageBlending)).Commands {
			switch {
			case command.GetCommandType() != leyline.CommandType_COMMAND_PAUSE:
				r.t.Fatalf("%v", command)
			case command.GetAnnotations()["resume"] == "true":
				back++
			default:
				out++
			}
		}
	}
	return out, back
}

// A PAUSE may find no room on its stream, be refused, or be lifted; so may its end.
func TestPauseThatHasNoEffectIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{5 * time.Second, 10 * time.Minute} {
		r, id := pausedRun(t, interval)
		if out, back := r.pauses(9, 3, shownSeed, id); out != 3 || back != 0 {
			t.Errorf("%v: %d more in nine reports that show none, %d resumed", interval, out, back)
		}
		if out, back := r.pauses(9, 100, pausedSeed, id); out != 0 || back != 0 {
			t.Errorf("%v: %d more in nine reports that show it, %d resumed", interval, out, back)
		}
		// An operator resumes it, and the loss goes on rising.
		if out, back := r.pauses(4, 1000, shownSeed, id); out != 1 || back != 0 {
			t.Errorf("%v: %d more once it was lifted, %d resumed", interval, out, back)
		}
		if out, back := r.pauses(1, 1000, pausedSeed, id); out != 0 || back != 0 {
			t.Errorf("%v: %d more once it shows, %d resumed", interval, out, back)
		}
		resumed := 0
		for range 40 {
			for _, command := range r.report(1, pausedSeed(id, stageBlending)).Commands {
				if command.GetAnnotations()["resume"] == "true" {
					resumed++
				}
			}
		}
		if resumed != 3 { // whoever holds it out then is not us
			t.Errorf("%v: resumed %d times in vain", interval, resumed)
		}
	}
}

// What waits for a FOSSILIZE may wait long, and must not be in the output of a run that is held
// back, nor be kept by it.
func TestSeedThatIsToBeKeptIsPausedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.interval = 10 * time.Minute
	id := r.stall().GetTargetSeedId()
	asked := false
	for range 5 {
		if asked = slices.Contains(operations(r.report(1, measuredSeed(id, stageProbationary, 0.1))), "SEED_OP_FOSSILIZE"); asked {
			break
		}
	}
	if !asked {
		t.Fatal("it was never to be kept")
	}
	only(t, r.report(100, measuredSeed(id, stageProbationary, 0.1)), "COMMAND_PAUSE")
	for i := range 4 {
		if got := operations(r.report(100*float32(i+2), measuredSeed(id, stageProbationary, 0.1))); len(got) > 0 {
			t.Errorf("then %v", got)
		}
	}
}

// Any instance decides on any run, and one of them may have the mode, as while it is set on one
// after the other.
func TestConservativeModeOfOneOfTwoInstancesHolds(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	here, there := NewController(Config{Conservative: true}), r.controller
	given := 0
	for i := range 20 {
		if r.controller = here; i%2 == 1 {
			r.controller = there
		}
		given += len(r.report(1, seedState(id, stageTraining)).Commands)
	}
	if given != 1 {
		t.Errorf("%d commands in 20 reports, want one PAUSE", given)
	}
	r.controller = there
	for i := range 3 {
		resumed := len(r.report(1, seedState(id, stageTraining)).Commands) > 0
		if resumed != (i == 1) { // the last one was decided on without the mode, too
			t.Errorf("report %d without the mode: resumed %v", i, resumed)
		}
	}
}

// Kasmina tells which seeds it keeps out of the output in our name. We may not know: the end of a
// pause was given up and obeyed after all, or our record was lost.
func TestWhatIsHeldInOurNameIsResumed(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*run, string){
		"obeyed late": func(r *run, id string) {
			r.resumed(40, id)
			r.report(1, shownSeed(id, stageBlending))
		},
		"obeyed late and told with it": func(r *run, id string) {
			r.resumed(40, id)
			r.next.Held = []string{id}
			only(r.t, r.report(1, shownSeed(id, stageBlending)), "COMMAND_PAUSE")
			r.report(1, shownSeed(id, stageBlending))
		},
		"record lost": func(r *run, id string) {
			r.record = nil
			r.next.Grafts = graftsOf(id, "layer1", "BP002")
		},
		"never heard of in time": func(r *run, id string) { r.resumed(80, id) },
	} {
		r, id := pausedRun(t, 10*time.Second)
		forget(r, id)
		r.next.Held = []string{id}
		if got := r.resumed(40, id); got < 2 {
			t.Errorf("%s: resumed %d times while it is held", name, got)
		}
		r.next.Held = nil
		r.report(1, shownSeed(id, stageBlending))
		if got := r.resumed(40, id); got > 0 {
			t.Errorf("%s: resumed %d times once somebody else holds it", name, got)
		}
	}
}

// While the run is to rest, what is held in our name stays out, and is not asked for again.
func TestWhatIsHeldInOurNameRestsWithTheRun(t *testing.T) {
	t.Parallel()
	r, id := pausedRun(t, 10*time.Second)
	r.record = nil
	r.controller = NewController(Config{Conservative: true})
	r.next.Grafts, r.next.Held = graftsOf(id, "layer1", "BP002"), []string{id}
	for range 20 {
		if decision := r.report(1, pausedSeed(id, stageBlending)); len(decision.Commands) > 0 {
			t.Fatalf("%v", operations(decision))
		}
	}
}

// resumed counts the commands of some reports that put a seed back, which it does not show.
func (r *run) resumed(reports int, id string) int {
	r.t.Helper()
	count := 0
	for range reports {
		for _, command := range r.report(1, pausedSeed(id, stageBlending)).Commands {
			if command.GetAnnotations()["resume"] == "true" {
				count++
			}
		}
	}
	return count
}

// What a rule has taken out of the output is not kept before it is back.
func TestASeedThatIsPausedIsKeptOnceItIsBack(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	r.report(1, measuredSeed(id, stageProbationary, 0.1))
	only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	slow, well := map[string]float32{"step_latency_ms": 500}, map[string]float32{"step_latency_ms": 5}
	only(t, r.metricsReport(slow, measuredSeed(id, stageProbationary, 0.1)), "COMMAND_PAUSE")
	var got []string
	for range 6 {
		got = append(got, operations(r.metricsReport(well, seedState(id, stageProbationary)))...)
	}
	if !slices.Equal(got, []string{"COMMAND_PAUSE", "SEED_OP_FOSSILIZE"}) {
		t.Errorf("once it was paused %v", got)
	}
}
