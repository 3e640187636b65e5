package control_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// What fits the slot that a seed goes to next is found out before it is wanted.
func TestSlotsArePreparedInTheOrderOfTheirTurns(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		var prepared [][]string
		o := open(t, url, "a", eager, func(c *control.Config) {
			c.Prepare = func(run string, slots [][]int) {
				shapes := []string{run}
				for _, slot := range slots {
					shapes = append(shapes, fmt.Sprint(slot))
				}
				prepared = append(prepared, shapes)
			}
		})
		hear := func() {
			told := trainer.Report{
				TrainerID: "trainer", HostLayers: []string{"hidden"}, KernelAccess: []string{"path"},
				Slots: map[string][]int{"conv1": {16, 14, 14}, "conv2": {32, 7, 7}, "flat": {256}},
			}
			d := o.report("run-1")
			told.Number = o.number
			d.Attributes = told.Attributes()
			for range 2 { // to one that comes again nobody listens
				if _, err := o.State(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
		}
		hear()
		hear()
		commands := sentOf[*leyline.AdaptationCommand](o)
		if len(commands) != 1 || commands[0].GetAnnotations()["slot"] != "flat" {
			t.Fatalf("commands %v", commands)
		}
		want := [][]string{
			{"run-1", "[256]", "[32 7 7]", "[16 14 14]"},
			{"run-1", "[32 7 7]", "[16 14 14]"}, // where a seed grows none is begun
		}
		if !slices.EqualFunc(prepared, want, slices.Equal) {
			t.Errorf("prepared %v, want %v", prepared, want)
		}
	})
}

// The next report goes on behind the slots that were looked at in vain, and that is where its
// slots are found out.
func TestSlotsArePreparedFromWhereTheNextReportGoesOn(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		var prepared []string
		o := open(t, url, "a", eager, func(c *control.Config) {
			c.Candidates = func(context.Context, string, []int) ([]tamiyo.Candidate, error) { return nil, nil }
			c.Prepare = func(_ string, slots [][]int) { prepared = append(prepared, fmt.Sprint(slots)) }
		})
		for range 4 {
			told := trainer.Report{TrainerID: "trainer", HostLayers: []string{"hidden"}, KernelAccess: []string{"path"}, Slots: map[string][]int{}}
			for i := range 6 {
				told.Slots[fmt.Sprint("s", i)] = []int{10 + i}
			}
			d := o.report("run-1")
			told.Number = o.number
			d.Attributes = told.Attributes()
			if _, err := o.State(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		// The first report looks at none, the second at four, the third at the last two.
		first, last := "[[10] [11] [12] [13]]", "[[14] [15] [10] [11]]"
		if want := []string{first, last, first, last}; !slices.Equal(prepared, want) {
			t.Errorf("prepared %q, want %q", prepared, want)
		}
	})
}
