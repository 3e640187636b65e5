package runstore

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// BenchmarkPut stores packets of ten metrics that are about no run, and reports of runs, in
// groups as they come while the bus is drained.
func BenchmarkPut(b *testing.B) {
	for name, message := range map[string]func(n int) runs.Message{
		"packets": func(n int) runs.Message {
			m := packet(fmt.Sprint("source-", n%8), n)
			told := m.Payload.(*leyline.TelemetryPacket)
			told.Timestamp = timestamppb.New(at(n / 1000))
			for i := range 9 {
				told.Metrics = append(told.Metrics, &leyline.MetricPoint{Name: fmt.Sprint("m.", i), Attributes: map[string]string{"a": "b"}})
			}
			return m
		},
		"reports": func(n int) runs.Message { return report(fmt.Sprint("run-", n%100), n) },
	} {
		for _, group := range []int{128, 256} {
			b.Run(fmt.Sprint(name, "/", group), func(b *testing.B) {
				s, err := Open(b.Context(), Config{URL: "sqlite:///" + b.TempDir() + "/runs.db"})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				messages := make([]runs.Message, group)
				for n := 0; b.Loop(); {
					b.StopTimer()
					for i := range messages {
						messages[i] = message(n)
						n++
					}
					b.StartTimer()
					if _, err := s.Put(b.Context(), messages); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*group), "us/message")
			})
		}
	}
}
