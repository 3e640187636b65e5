package control_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// withSeed is a report of a trainer that has a seed in the model, or had, and of a slow step.
func withSeed(t *testing.T, o *office, run string, has bool, stepMS float32) {
	t.Helper()
	delivery := o.report(run)
	if has {
		delivery = o.attached(run, "seed", trainer.Order{
			Slot: "hidden", Blueprint: "BP039", Kernel: trainer.Kernel{Checksum: digestOf("kernel")}, Number: 1,
		})
	}
	delivery.Payload.(*leyline.SystemStatePacket).TrainingMetrics = map[string]float32{"step_latency_ms": stepMS}
	if _, err := o.State(t.Context(), delivery); err != nil {
		t.Fatal(err)
	}
}

// The controller waits for one more report before it takes a seed for gone; Kasmina does not, and
// would refuse to pause it.
func TestASeedThatWentIsNotPaused(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		for run, has := range map[string]bool{"run-1": true, "run-2": false} {
			o := open(t, url, run)
			o.hear(run)
			withSeed(t, o, run, true, 1)
			withSeed(t, o, run, has, 500)
			for _, command := range sentOf[*leyline.AdaptationCommand](o) {
				if _, err := o.Command(t.Context(), delivered(command)); err != nil {
					t.Errorf("command %v: %v", command, err)
				}
			}
			commands := len(sentOf[*leyline.AdaptationCommand](o))
			if rejected := o.events("command_rejected"); rejected != 0 || (commands == 1) != has {
				t.Errorf("a seed that is there, %v: %d commands, %d rejected", has, commands, rejected)
			}
		}
	})
}
