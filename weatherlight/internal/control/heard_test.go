package control_test

import (
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// What is found out for slots is found out for the trainer that leads its run: to another one,
// and to reports that come again, nobody listens.
func TestOnlyReportsThatKasminaTookAreHeardOf(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		var heard []string
		o := open(t, url, "a", func(c *control.Config) {
			c.OnReport = func(run string, report trainer.Report) { heard = append(heard, run+" of "+report.TrainerID) }
		})
		first := o.report("run-1")
		second := o.report("run-1")
		second.Attributes[trainer.AttributeTrainerID] = "another"
		for _, d := range []int{1, 2, 1} {
			delivery := first
			if d == 2 {
				delivery = second
			}
			if _, err := o.State(t.Context(), delivery); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"run-1 of trainer-of-run-1"}; !slices.Equal(heard, want) {
			t.Errorf("heard of %v, want %v", heard, want)
		}
	})
}
