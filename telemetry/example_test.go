package telemetry_test

import (
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// A packet says what it measured and how it feels; its priority on the bus
// follows from that.
func ExampleNew() {
	packet := telemetry.New("forge", "forge").
		Metric("forge.jobs", 3, "count").
		Event("compile_failed", leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR, "blueprint_id", "BP012").
		Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR).
		Build()
	fmt.Println(packet.GetSourceSubsystem(), len(packet.GetMetrics()), len(packet.GetEvents()))
	fmt.Println(telemetry.Priority(packet))
	// Output:
	// forge 1 1
	// MESSAGE_PRIORITY_HIGH
}
