package control_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
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

// forget makes what a part knows of a run as if it had never been.
func (o *office) forget(part, run string) {
	o.t.Helper()
	key := oona.RecordKey{Part: part, Run: run}
	stored, err := o.config.Records.Load(o.t.Context(), key)
	if err != nil {
		o.t.Fatal(err)
	}
	lost := oona.RecordWrite{Key: key, Version: stored.Version, Value: []byte("nonsense")}
	if _, err := o.config.Records.Save(o.t.Context(), lost); err != nil {
		o.t.Fatal(err)
	}
}

// A command must say of itself until when it holds as whoever takes it judges that: with a
// shorter deadline it is lost on the way, and with a longer one it is refused before.
func TestDeadlineOfACommandIsThatOfWhoJudgesIt(t *testing.T) {
	const run = "run-1"
	onBothBuses(t, func(t *testing.T, url string) {
		for name, row := range map[string]struct {
			lost string // the part that knows nothing of the run when it is decided on
			want time.Duration
		}{
			"slower now": {want: 50 * time.Minute}, "Kasmina's record lost": {control.PartKasmina, time.Minute},
		} {
			run := run + "/" + name
			later := &clock{}
			first := open(t, url, "a", later.ahead)
			for range 4 {
				first.hearLater(run, later, 10*time.Second)
			}
			for range 3 {
				first.hearLater(run, later, 10*time.Minute)
			}
			if row.lost != "" {
				first.forget(row.lost, run)
			}
			o := open(t, url, "b", later.ahead, eager, func(c *control.Config) {
				c.Controller = tamiyo.NewController(tamiyo.Config{Patience: 2})
			})
			o.number = first.number
			o.hearLater(run, later, 10*time.Minute)
			commands := sentOf[*leyline.AdaptationCommand](o)
			if len(commands) != 1 {
				t.Fatalf("%s: %d commands", name, len(commands))
			}
			deadline := time.Duration(commands[0].GetExecutionDeadlineMs()) * time.Millisecond
			if deadline.Round(time.Second) != row.want { // the bus has a clock of its own
				t.Errorf("%s: it holds for %v, want %v", name, deadline, row.want)
			}
			for ago, refused := range map[time.Duration]int{deadline - time.Second: 0, deadline + time.Second: 1} {
				before := o.events("command_rejected")
				o.do(o.command(ago.String(), run, germinating("seed-"+ago.String()), func(c *leyline.AdaptationCommand) {
					c.IssuedAt = timestamppb.New(o.config.Now().Add(-ago))
				}))
				if got := o.events("command_rejected") - before; got != refused {
					t.Errorf("%s: a command of %v ago is refused %d times, want %d", name, ago, got, refused)
				}
			}
		}
	})
}
