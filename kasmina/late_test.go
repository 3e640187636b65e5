package kasmina

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/trainer"
)

// A command may be as old as a few reports of its run take, and what is known of those grows with
// the reports that come. A CULL that came before its GERMINATE holds for as long as that may.
func TestCullHoldsItsGerminateHoweverOldThatMayBecome(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		after   time.Duration // from the CULL to the next report, the second of the run
		another bool          // another seed leaves meanwhile
		then    time.Duration // from that report to the GERMINATE
		want    string        // why it is refused; empty: it is overtaken
	}{
		"at once":                 {20 * time.Second, false, 0, ""},
		"later than a minute":     {20 * time.Second, false, 50 * time.Second, ""},
		"after a late report":     {67 * time.Second, false, 2 * time.Second, ""},
		"after another seed left": {67 * time.Second, true, 2 * time.Second, ReasonStaleCommand},
		"too late":                {20 * time.Second, false, 2 * time.Minute, ReasonStaleCommand},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			germinate := w.command(opGerminate, "s", issued(w.now.Add(-time.Millisecond)))
			w.do(opCull, "s")
			if row.another {
				w.wait(35500 * time.Millisecond)
				w.do(opGerminate, "other")
				w.do(opCull, "other") // its embargo ends once the tombstone's time is over
				row.after -= 35500 * time.Millisecond
			}
			w.after(row.after)
			w.wait(row.then)
			if row.want == "" {
				w.accepts(germinate)
			} else {
				w.rejects(germinate, row.want)
			}
			w.wantStage("s", lifecycle.Unknown)
		})
	}
}

// A seed that could not be attached is not in the host. Its embargo ends though its trainer
// never reports again.
func TestSeedThatWasNeverAttachedWaitsForNoReport(t *testing.T) {
	t.Parallel()
	for _, failure := range []trainer.AttachFailure{trainer.AttachMisfit, trainer.AttachInvalid, trainer.AttachUnreachable} {
		w := newWorld(t)
		w.meet()
		w.trainer.failing = failure
		w.do(opGerminate, "s")
		w.decide(w.ready(w.lastRequest()))
		w.report()
		w.wantStage("s", lifecycle.Embargoed)
		w.emitted()
		w.wait(time.Hour)
		w.told("run_silent")
		w.wantStage("s", lifecycle.Unknown)
	}
}
