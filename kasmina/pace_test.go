package kasmina

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// slowly are intervals of reports that are longer than a command of a fast trainer may take.
func slowly() []time.Duration {
	return []time.Duration{90 * time.Second, 3 * time.Minute, 10 * time.Minute}
}

// slowWorld is one whose trainer reports so seldom, with a seed in its output.
func slowWorld(t *testing.T, interval time.Duration) *world {
	t.Helper()
	w := newWorld(t)
	w.meet()
	w.after(interval)
	w.plant("s")
	for range 3 {
		w.after(interval)
	}
	w.orders, w.packets = nil, nil
	return w
}

// after lets everything come due that does until the trainer's next report, which tells of
// what it was ordered.
func (w *world) after(interval time.Duration) {
	w.t.Helper()
	w.trainer.obey(w.orders)
	w.wait(interval - time.Second)
	w.report()
}

func (w *world) wantPaused(want ...string) {
	w.t.Helper()
	if got := NewView(w.record).Seeds[0].Paused; !slices.Equal(got, want) {
		w.t.Errorf("the record says paused by %v, want %v", got, want)
	}
	if got := w.trainer.seeds[0].paused; got != (len(want) > 0) {
		w.t.Errorf("the trainer says paused: %v", got)
	}
}

func pausing(resume bool, ms uint32) []change {
	changes := []change{ofType(leyline.CommandType_COMMAND_PAUSE), within(ms)}
	if resume {
		changes = append(changes, annotate("resume", "true"))
	}
	return changes
}

// Nothing but a report tells that an order was obeyed: one that was before its deadline, and is
// told of after it, counts.
func TestPauseHoldsHoweverSeldomItsTrainerReports(t *testing.T) {
	t.Parallel()
	for _, interval := range append(slowly(), 10*time.Second) {
		w := slowWorld(t, interval)
		w.accepts(w.command(0, "s", pausing(false, 5000)...))
		for range 3 {
			w.after(interval)
			w.wantPaused("controller")
		}
		w.accepts(w.command(0, "s", pausing(true, 5000)...))
		for range 3 {
			w.after(interval)
			w.wantPaused()
		}
		stages := func(kind string) bool { return kind != "pause:s" && kind != "resume:s" }
		if got := slices.DeleteFunc(w.kinds(), stages); !slices.Equal(got, []string{"pause:s", "resume:s"}) {
			t.Errorf("%v: orders %v", interval, got)
		}
		if told := events(w.packets, "order_expired"); len(told) > 0 {
			t.Errorf("%v: told %v", interval, told)
		}
	}
}

// A command may lie in a record, or on the bus, until the next report: an instance was
// killed, or none was there.
func TestCommandMayBeAsOldAsAFewReportsOfItsRunTake(t *testing.T) {
	t.Parallel()
	for _, interval := range slowly() {
		w := slowWorld(t, interval)
		late := w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE), issued(w.now.Add(-2*interval)))
		w.accepts(late)
		w.accepts(late) // again is nothing to do
		stale := w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE), issued(w.now.Add(-6*interval)))
		w.rejects(stale, ReasonStaleCommand)
		w.after(interval)
		w.wantPaused("controller")
	}
}

// What is forgotten because it was old must not be new again for a run that has become slower.
func TestForgottenCommandIsNoNewOneOnceItsTrainerReportsLessOften(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	pause := w.command(0, "s", pausing(false, 0)...)
	w.accepts(pause)
	for range 12 {
		w.after(10 * time.Second)
	}
	w.accepts(w.command(0, "s", pausing(true, 0)...))
	for range 12 {
		w.after(10 * time.Minute)
	}
	w.record.Seeds[0].Issued = 0 // so that nothing else knows it
	if rejected := w.send(pause); rejected == nil {
		t.Error("taken once more")
	}
}

func TestSlowTrainerIsNotSilentBeforeItsSecondReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.wait(10 * time.Minute)
	if told := events(w.packets, "run_silent"); len(told) > 0 {
		t.Errorf("told %v, and nobody knows yet how often it reports", told)
	}
	w.report()
	w.wait(20 * time.Minute)
	if told := events(w.packets, "run_silent"); len(told) > 0 {
		t.Errorf("told %v after two intervals", told)
	}
	w.wait(15 * time.Minute)
	w.told("run_silent")
}

// A process that goes on from a checkpoint reports as often as the one before it did.
func TestSlowTrainerThatResumedKeepsItsRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	for range 4 {
		w.after(10 * time.Minute)
	}
	w.trainer.id, w.trainer.resumes = "trainer-2", "trainer-1"
	w.after(10 * time.Minute)
	w.now = w.now.Add(2 * time.Minute)
	if d := w.decide(newFakeTrainer("duplicate").report(w.now)); d.Ignored != IgnoredSecond {
		t.Errorf("a second trainer that begins anew is ignored as %q", d.Ignored)
	}
	w.after(8 * time.Minute)
	if w.last.Ignored != "" || w.record.Trainer.ID != "trainer-2" {
		t.Errorf("ignored as %q, %s leads", w.last.Ignored, w.record.Trainer.ID)
	}
}

// One long gap is an outage, after which silence is noticed as before. Two in a row are how
// often a trainer reports now.
func TestTrainerThatBecomesSlowIsSilentTwiceAtMost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 30 {
		w.report()
	}
	w.emitted()
	w.after(time.Hour) // an outage
	for range 8 {
		w.report()
	}
	if got := w.core.config.silence(&w.record.Trainer); got > 2*time.Minute {
		t.Errorf("after an outage it may be silent for %v", got)
	}
	w.emitted()
	for range 8 {
		w.after(10 * time.Minute)
	}
	if told := events(w.packets, "run_silent"); len(told) > 2 {
		t.Errorf("silent %d times in eight reports ten minutes apart", len(told))
	}
}
