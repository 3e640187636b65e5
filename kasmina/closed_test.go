package kasmina

import (
	"testing"
	"time"
)

// wantClosed reports, and checks what is told of germinations against what becomes of one.
func (w *world) wantClosed(reason string) {
	w.t.Helper()
	w.report()
	if w.last.Closed != reason {
		w.t.Errorf("closed for %q, want %q", w.last.Closed, reason)
	}
	rejected := w.core.Decide(w.record, Command{w.command(opGerminate, "one-more")}, w.now).Rejected
	got := ""
	if rejected != nil {
		got = rejected.Reason
	}
	if got != reason {
		w.t.Errorf("a germination is refused for %q, want %q", got, reason)
	}
}

func TestReportSaysThatNoSeedCanBeBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxSeeds = 2 })
	w.meet()
	w.wantClosed("")
	w.accepts(w.command(0, "", alarmed("EMERGENCY_LEVEL_ELEVATED")))
	w.wantClosed("")
	w.accepts(w.command(0, "", alarmed("EMERGENCY_LEVEL_CONSERVATIVE")))
	w.wantClosed(ReasonEmergency)
	w.accepts(w.command(0, "", alarmed("1")))
	w.wantClosed("")
	w.plant("s")
	w.wantClosed("")
	w.plant("t")
	w.wantClosed(ReasonTooManySeeds)
}

func TestReportSaysThatTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	for _, id := range []string{"a", "b", "c"} {
		w.do(opGerminate, id)
		w.wait(11 * time.Second)
	}
	w.wantClosed(ReasonBreakerOpen)
	w.wait(time.Minute)
	w.wantClosed("")
	w.do(opGerminate, "d")
	w.wantClosed(ReasonBreakerOpen) // one probe at a time
	last := w.trainer.report(w.now)
	w.decide(last)
	repeated := w.core.Decide(w.record, last, w.now)
	if repeated.Ignored != IgnoredRepeated || repeated.Closed != ReasonBreakerOpen {
		t.Errorf("a report that comes again: %q, closed for %q", repeated.Ignored, repeated.Closed)
	}
	w.decide(w.ready(w.lastRequest()))
	w.wantClosed("")
}
