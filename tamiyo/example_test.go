package tamiyo_test

import (
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// ExampleController_Decide gives two reports of a run to a controller, the second of them twice.
func ExampleController_Decide() {
	controller := tamiyo.NewController(tamiyo.Config{Patience: 2})
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var record *tamiyo.Record
	for _, epoch := range []uint32{1, 2, 2} {
		state := tamiyo.State{
			Packet: &leyline.SystemStatePacket{TrainingRunId: "run-1", CurrentEpoch: epoch, ValidationLoss: 0.5},
			Grows:  true, TrainerID: "trainer-1", Number: uint64(epoch),
		}
		decision := controller.Decide(record, state, now, nil)
		fmt.Println(epoch, len(decision.Commands), decision.Repeated)
		if decision.Record != nil {
			record = decision.Record
		}
		now = now.Add(time.Second)
	}
	// Output:
	// 1 0 false
	// 2 0 false
	// 2 0 true
}
