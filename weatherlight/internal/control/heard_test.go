package control_test

import (
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// To another trainer than the one that leads its run, and to reports that come again, nobody
// listens.
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

// Kasmina knows why a seed went, and Tamiyo hears it.
func TestSeedThatAnOperatorCulledIsReportedSo(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		o.hear("run-1")
		o.do(o.command("begin", "run-1", germinating("seed-1")))
		there := o.report("run-1")
		packet, _ := there.Payload.(*leyline.SystemStatePacket)
		packet.SeedStates = []*leyline.SeedState{{SeedId: "seed-1", Stage: leyline.SeedLifecycleStage_SEED_STAGE_GERMINATED}}
		if _, err := o.State(t.Context(), there); err != nil {
			t.Fatal(err)
		}
		o.do(o.command("end", "run-1", func(c *leyline.AdaptationCommand) {
			c.TargetSeedId = "seed-1"
			c.Payload = &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
				Operation: leyline.SeedOperation_SEED_OP_CULL, BlueprintId: "BP001",
			}}
		}))
		o.hear("run-1", "run-1")
		reports := sentOf[*leyline.FieldReport](o)
		if len(reports) != 1 || reports[0].GetNotes() != "retired" || !tamiyo.Spares(reports[0]) {
			t.Errorf("reports %v", reports)
		}
	})
}
