package control_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
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
