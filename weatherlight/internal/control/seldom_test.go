package control_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// hearLater takes the report of a run's trainer after a while.
func (o *office) hearLater(run string, later *clock, wait time.Duration) {
	o.t.Helper()
	later.passed += wait
	report := o.report(run)
	report.Issued, report.Published = o.config.Now(), o.config.Now()
	if _, err := o.State(o.t.Context(), report); err != nil {
		o.t.Fatal(err)
	}
}

// What an instance decided and could not publish lies in the record of its run until somebody
// looks at that: mostly with the next report, which may be ten minutes away.
func TestCommandOfAnInstanceThatDiedHoldsWithTheNextReport(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		const run, interval = "run-1", 10 * time.Minute
		later := &clock{}
		dying := open(t, url, "a", later.ahead, eager, func(c *control.Config) {
			publish := c.Publish
			c.Publish = func(ctx context.Context, messages ...oona.Message) error {
				if _, command := messages[0].Payload.(*leyline.AdaptationCommand); command {
					return errCrash
				}
				return publish(ctx, messages...)
			}
			c.Grace = time.Millisecond
		})
		o := open(t, url, "b", later.ahead)
		o.hearLater(run, later, interval)
		o.hearLater(run, later, interval)
		later.passed += interval
		report := o.report(run)
		report.Issued, report.Published = o.config.Now(), o.config.Now()
		if _, err := dying.State(t.Context(), report); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		o.hearLater(run, later, interval)
		left := sentOf[*leyline.AdaptationCommand](o)
		if len(left) != 1 {
			t.Fatalf("%d commands were left", len(left))
		}
		o.do(left[0])
		if o.events("command_rejected") != 0 || len(sentOf[*leyline.KernelPrefetchRequest](o)) != 1 {
			t.Errorf("%d refused, %d kernels asked for", o.events("command_rejected"), len(sentOf[*leyline.KernelPrefetchRequest](o)))
		}
		later.passed += 6 * interval
		o.do(o.command("old", run, germinating("seed-9"), func(c *leyline.AdaptationCommand) { c.IssuedAt = left[0].GetIssuedAt() }))
		if o.events("command_rejected") != 1 {
			t.Error("a command of an hour ago is taken")
		}
	})
}
