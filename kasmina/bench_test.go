package kasmina

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// fourSeeds is a run with four young seeds, as it is stored.
func fourSeeds(t testing.TB) *world {
	w := newWorld(t, func(c *Config) { c.TelemetryInterval = 0 })
	w.trainer.layers = []string{"conv1", "layer1", "layer2", "layer3", "layer4", "fc"}
	w.trainer.slots = map[string][]int{"layer2": {3}}
	w.meet()
	for _, id := range []string{"seed-0a1b2c3d", "seed-1a1b2c3d", "seed-2a1b2c3d", "seed-3a1b2c3d"} {
		w.plant(id, annotate("mesh_host_layers", `["conv1","layer1","layer2","layer3","layer4","fc"]`),
			func(c *leyline.AdaptationCommand) {
				c.GetSeedOperation().Parameters = map[string]float32{"hidden": 16, "rate": 0.5}
			})
	}
	w.report()
	return w
}

func TestRecordOfFourYoungSeedsStaysBelowFourKilobytes(t *testing.T) {
	t.Parallel()
	w := fourSeeds(t)
	if size := len(stored(t, w.record)); size >= 4<<10 {
		t.Errorf("%d bytes: %s", size, stored(t, w.record))
	} else {
		t.Logf("%d bytes", size)
	}
}

func BenchmarkDecideReportOfFourSeeds(b *testing.B) {
	w := fourSeeds(b)
	record := w.record
	w.now = w.now.Add(20 * time.Millisecond)
	report := w.trainer.report(w.now)
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		d := w.core.Decide(record, report, w.now)
		text, err := json.Marshal(d.Record)
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	b.ReportMetric(float64(size), "bytes/record")
}

func BenchmarkDecodeRecordOfFourSeeds(b *testing.B) {
	text := []byte(stored(b, fourSeeds(b).record))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRecord(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	command := w.command(opGerminate, "seed-1")
	b.ReportAllocs()
	for b.Loop() {
		if rejected := w.core.Verify(w.record, command, w.now); rejected != nil {
			b.Fatal(rejected)
		}
	}
}
