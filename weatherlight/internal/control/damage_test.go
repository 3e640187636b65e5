package control_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// The keys of one run cost an emergency for all of them its attempts, and ended the look at
// what came due.
func TestRunWithDamagedKeysDoesNotHoldUpTheOthers(t *testing.T) {
	acts := map[string]func(*office) error{
		"emergency": func(o *office) error {
			return o.Emergency(o.t.Context(), "", kasmina.Emergency{Level: halt, ID: "signal-1"})
		},
		"command": func(o *office) error {
			_, err := o.Command(o.t.Context(), delivered(o.command("halt", "", func(c *leyline.AdaptationCommand) {
				c.CommandType = leyline.CommandType_COMMAND_EMERGENCY
				c.Annotations["level"] = halt.String()
			})))
			return err
		},
		"tick": func(o *office) error { return o.Tick(o.t.Context()) },
		"visit": func(o *office) error {
			return o.Each(o.t.Context(), func(string, *kasmina.Record) {})
		},
	}
	onBothBuses(t, func(t *testing.T, url string) {
		for what, prefix := range map[string]string{"record": "weatherlight:kasmina:{oona.run.", "stream": "oona.run."} {
			for name, act := range acts {
				if what == "stream" && (name == "visit" || name == "tick") { // which need no orders
					continue
				}
				bad, good := "bad-"+what+"-"+name, "good-"+what+"-"+name
				key := prefix + bad
				if what == "record" {
					key += "}"
				}
				later := &clock{}
				o := open(t, url, "a", later.ahead)
				o.hear(bad, good)
				tell(t, url, "SET "+key+" nonsense")
				later.passed = 20 * time.Minute // after which trainers count as silent
				other := open(t, url, "b", later.ahead)
				if err := act(other); err != nil {
					t.Errorf("%s, %s: %v", what, name, err)
				}
				if told := other.Damaged(time.Time{}); !strings.Contains(told[bad], key+" is a string") || told[good] != "" {
					t.Errorf("%s, %s: told of %v", what, name, told)
				}
				if view := other.view(good).Kasmina; name != "visit" && view.Emergency != halt.String() && !view.Trainer.Silent {
					t.Errorf("%s, %s: the other run is %+v", what, name, view)
				}
			}
		}
	})
}

// The index concerns all runs: no message is to blame.
func TestDamagedIndexIsAnOutage(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		tell(t, url, "SET weatherlight:kasmina:due nonsense")
		_, err := o.State(context.Background(), o.report("run-1"))
		if !errors.Is(err, oona.ErrUnavailable) || errors.Is(err, oona.ErrDamaged) || !strings.Contains(err.Error(), "weatherlight:kasmina:due") {
			t.Errorf("a report met %v", err)
		}
		if told := o.Damaged(time.Time{}); len(told) != 0 {
			t.Errorf("told of %v", told)
		}
	})
}
