package kasmina

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
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

// Nobody but the controller asks for that, and it is asked with reports alone.
func TestWhatTheControllerAsksForIsToldWithReportsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxSeeds = 2 })
	w.meet()
	w.plant("s")
	w.pauses("-tamiyo")
	w.plant("t")
	w.do(opCull, "t")
	w.report()
	if !slices.Equal(w.last.Lives, []string{"s"}) {
		t.Errorf("%v live", w.last.Lives)
	}
	told := func(d Decision) bool {
		return d.Closed != "" && len(d.Gone) > 0 && len(d.Held) > 0 && d.Patience > 0
	}
	if !told(w.last) {
		t.Errorf("with a report: closed for %q, gone %v, held %v, %v", w.last.Closed, w.last.Gone, w.last.Held, w.last.Patience)
	}
	for _, message := range []Message{Tick{}, Emergency{ID: "one"}, Command{w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE))}} {
		d := w.core.Decide(w.record, message, w.now)
		if d.Closed != "" || d.Gone != nil || d.Held != nil || d.Lives != nil || d.Patience != 0 {
			t.Errorf("with %T: closed for %q, gone %v, held %v, %v", message, d.Closed, d.Gone, d.Held, d.Patience)
		}
	}
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
