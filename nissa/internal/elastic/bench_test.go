package elastic

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// BenchmarkKeep is what a packet of ten metrics costs before it is acknowledged.
func BenchmarkKeep(b *testing.B) {
	x, err := Open(Config{URL: "http://127.0.0.1:1", Dir: b.TempDir(), MaxBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = x.Close() })
	packet := &leyline.TelemetryPacket{PacketId: "telemetry-00000000-1", SourceSubsystem: "bench", Timestamp: timestamppb.Now()}
	for i := range 10 {
		packet.Metrics = append(packet.Metrics, &leyline.MetricPoint{
			Name: fmt.Sprint("bench.figure_", i), Value: float64(i + 1), Unit: "ms", Attributes: map[string]string{"worker": "1"},
		})
	}
	message := &runs.Message{Stream: "oona.telemetry", Entry: "1-1", Payload: packet}
	b.Run("document", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := linesOf(telemetryIndex, message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("keep", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.Keep(message)
		}
	})
}
