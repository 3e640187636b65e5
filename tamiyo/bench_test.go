package tamiyo

import (
	"fmt"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/trainer"
)

// BenchmarkDecision is one on a report of 100 seeds, of which a record remembers 64, and
// one on a report of 60 in a stalled run, where 30 blueprints are weighed.
func BenchmarkDecision(b *testing.B) {
	b.Run("100 seeds", func(b *testing.B) { benchmarkDecision(b, 100) })
	b.Run("weighing", func(b *testing.B) { benchmarkDecision(b, 60) })
}

func benchmarkDecision(b *testing.B, seeds int) {
	controller := NewController(Config{Patience: 1, MaxGrowing: 64, MaxAgeEpochs: 1 << 30})
	state := State{
		Packet: packetOf(1, 1), Grows: true, TrainerID: "trainer", HostLayers: []string{"fc1"},
		Slots: map[string][]int{"free": {32}}, Grafts: map[string]trainer.Graft{},
		Blueprint: func(id string) (Candidate, bool, error) { return safe(id, 100), true, nil },
	}
	var offered []Candidate
	for i := range 30 {
		risky := safe(fmt.Sprintf("BP%03d", i), 100*(i+1))
		risky.Risk = 0.6 // none is begun
		offered = append(offered, risky)
	}
	for i := range seeds {
		id := fmt.Sprintf("seed-run-%d", i)
		state.Packet.SeedStates = append(state.Packet.SeedStates, measuredSeed(id, stageTraining, 0.1))
		state.Grafts[id] = trainer.Graft{Slot: fmt.Sprint("slot-", i), Blueprint: fmt.Sprintf("BP%03d", i%30)}
	}
	var record *Record
	now := time.Unix(1_800_000_000, 0)
	step := func() {
		state.Number++
		state.Packet.CurrentEpoch++
		now = now.Add(time.Second)
		record = controller.Decide(record, state, now, offer(offered...)).Record
	}
	for range 3 {
		step()
	}
	if len(record.Seeds) != min(seeds, maxSeeds) {
		b.Fatalf("%d seeds, %d grow", len(record.Seeds), record.growing())
	}
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
