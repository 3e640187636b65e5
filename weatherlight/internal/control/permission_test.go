package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// A permission is counted by whoever gives it, and a state may be decided on twice.
func TestPermissionOfABlueprintIsAskedForOnce(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		for name, row := range map[string]struct {
			answer   error
			commands int
		}{"permitted": {nil, 1}, "withheld": {errors.New("not approved"), 0}} {
			store, asked := &shaky{}, []string(nil)
			o := open(t, url, name, eager, store.between, func(c *control.Config) {
				c.Permit = func(_ context.Context, blueprint string) error {
					asked = append(asked, blueprint)
					return row.answer
				}
			})
			run := "run, " + name
			o.hear(run)
			tries := 0
			fails := once(control.PartTamiyo)
			store.fails = func(write oona.RecordWrite) error {
				if write.Key.Part == control.PartTamiyo {
					tries++
				}
				return fails(write)
			}
			o.hear(run)
			if tries != 2 || !slices.Equal(asked, []string{"BP001"}) {
				t.Errorf("%s: decided %d times, asked for %q", name, tries, asked)
			}
			if commands := sentOf[*leyline.AdaptationCommand](o); len(commands) != row.commands {
				t.Errorf("%s: %d commands", name, len(commands))
			}
		}
	})
}

// What is told of a germination that was left out is that it was, and why. The decision itself is
// recorded as the controller made it.
func TestGerminationThatIsLeftOutIsToldSo(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		log := &journal{}
		o := open(t, url, "a", eager, log.keep, func(c *control.Config) {
			c.Permit = func(context.Context, string) error { return errors.New("refused by now") }
		})
		o.hear("run-1", "run-1")
		if issued, left := o.events("command_issued"), o.events("germination_left_out"); issued != 0 || left != 1 {
			t.Errorf("%d commands told as issued, %d germinations as left out", issued, left)
		}
		if text := log.String(); strings.Count(text, "level=WARN msg=germination_left_out run=run-1") != 1 {
			t.Errorf("log:\n%s", text)
		}
		recorded := 0
		for _, packet := range o.offered {
			for _, event := range packet.GetEvents() {
				attributes := event.GetAttributes()
				switch event.GetDescription() {
				case "germination_left_out":
					if packet.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING || attributes["reason"] != "refused by now" ||
						attributes["blueprint_id"] != "BP001" || attributes["slot"] != "hidden" || attributes["training_run_id"] != "run-1" {
						t.Errorf("told as %v", packet)
					}
				case "decision_explained":
					if attributes["left_out"] != "BP001 at hidden: refused by now" {
						t.Errorf("explained as %v", attributes)
					}
				case "decision_recorded":
					recorded++
					read := new(transcript.Transcript)
					if err := read.UnmarshalText([]byte(attributes["transcript"])); err != nil {
						t.Fatal(err)
					}
					if _, err := read.Decide(nil); err != nil {
						t.Errorf("decided again: %v", err)
					}
				}
			}
		}
		if recorded != 2 {
			t.Errorf("%d decisions are recorded", recorded)
		}
	})
}

// A library that is slow for once costs no seed, which its run would wait for.
func TestPermissionHasSeveralSteps(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", eager, func(c *control.Config) {
			c.StepTimeout = 5 * time.Second
			c.Permit = func(ctx context.Context, _ string) error {
				if until, bounded := ctx.Deadline(); !bounded || time.Until(until) < 5*c.StepTimeout {
					return context.DeadlineExceeded
				}
				return nil
			}
		})
		o.hear("run-1", "run-1")
		if sent, left := sentOf[*leyline.AdaptationCommand](o), o.events("germination_left_out"); len(sent) != 1 || left != 0 {
			t.Errorf("%d commands, %d left out", len(sent), left)
		}
	})
}

// A library that does not answer holds up no report.
func TestPermissionIsAskedForWithinABound(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", eager, func(c *control.Config) {
			c.StepTimeout = 20 * time.Millisecond
			c.Permit = func(ctx context.Context, _ string) error {
				if _, bounded := ctx.Deadline(); !bounded {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}
		})
		o.hear("run-1", "run-1")
		if sent, left := sentOf[*leyline.AdaptationCommand](o), o.events("germination_left_out"); len(sent) != 0 || left != 1 {
			t.Errorf("%d commands, %d left out", len(sent), left)
		}
	})
}
