package kasmina_test

import (
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// A record and a message make the next record. The run is led by its trainer
// from the first report on.
func ExampleCore_Decide() {
	core := kasmina.NewCore(kasmina.Config{})
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	decision := core.Decide(nil, kasmina.Report{
		Packet:   &leyline.SystemStatePacket{TrainingRunId: "run-1", CurrentEpoch: 1},
		Protocol: true,
		Report: trainer.Report{
			TrainerID: "trainer-1", Number: 1, HostLayers: []string{"layer1", "fc"},
			Slots: map[string][]int{"layer1": {64, 7, 7}},
		},
		Stored: now,
	}, now)
	view := kasmina.NewView(decision.Record)
	fmt.Println(view.Run, view.Trainer.ID, view.Trainer.Slots["layer1"], len(view.Seeds))
	fmt.Println("counts as silent at", decision.Due.Format(time.TimeOnly))
	// Output:
	// run-1 trainer-1 [64 7 7] 0
	// counts as silent at 12:15:00
}
