package graft_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Whatever is ordered, doubled and out of order: stages move by the contract's
// table, numbers only grow, and what is reported is what is grafted.
func TestAnySequenceOfOrdersLeavesALegalGraft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	kernels := [][]byte{scaling(t, 2, features), scaling(t, 3, features)}
	rapid.Check(t, func(t *rapid.T) {
		defer func() {
			for _, id := range []string{"a", "b"} {
				w.send(w.order(trainer.Drop, id))
			}
		}()
		last := map[string]uint64{}
		for range rapid.IntRange(1, 25).Draw(t, "orders") {
			order := drawOrder(t, w, kernels)
			for _, change := range w.send(order) {
				if !legal(change) {
					t.Fatalf("%s moved %s from %s to %s", change.Kind, change.Seed, change.From, change.To)
				}
			}
			w.graft.Step()
			checkReport(t, w, last)
		}
	})
}

func drawOrder(t *rapid.T, w *world, kernels [][]byte) trainer.Order {
	kinds := []trainer.Kind{
		trainer.Attach, trainer.BlendIn, trainer.Hold, trainer.Judge, trainer.Keep, trainer.Attach, trainer.BlendIn,
		trainer.Tune, trainer.Train, trainer.Drop, trainer.Pause, trainer.Resume, trainer.Rollback,
	}
	id := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "seed")
	kind := rapid.SampledFrom(kinds).Draw(t, "kind")
	order := w.order(kind, id)
	if kind == trainer.Attach {
		order = w.attachOrder(id, rapid.SampledFrom(kernels).Draw(t, "kernel"), trainer.Blend{})
	}
	if w.number > 1 && rapid.IntRange(0, 5).Draw(t, "late") == 0 {
		order.Number = rapid.Uint64Range(1, w.number-1).Draw(t, "number") // comes again, or out of order
	}
	return order
}

// legal says that a change is a step of the contract's table, a beginning or an end.
func legal(c graft.Change) bool {
	for _, step := range [][2]leyline.SeedLifecycleStage{
		{stageTraining, stageBlending}, {stageBlending, stageShadowing},
		{stageShadowing, stageProbationary}, {stageProbationary, stageFossilized}, {0, stageTraining},
	} {
		if c.From == step[0] && c.To == step[1] {
			return true
		}
	}
	return c.To == 0 || c.From == c.To
}

func checkReport(t *rapid.T, w *world, last map[string]uint64) {
	report := w.report(nil)
	if len(report.report.Grafts) != len(w.graft.Seeds()) {
		t.Fatalf("%d grafts are told of %d", len(report.report.Grafts), len(w.graft.Seeds()))
	}
	for _, seed := range w.graft.Seeds() {
		state := report.seed(seed.ID)
		number := uint64(state.GetMetrics()[trainer.MetricOrder])
		if state.GetStage() != seed.Stage || number < report.report.Grafts[seed.ID].Order || number < last[seed.ID] ||
			!(seed.Share >= 0 && seed.Share <= 1) {
			t.Fatalf("state %v of seed %+v, last order %d", state, seed, last[seed.ID])
		}
		last[seed.ID] = number
	}
}

func TestCopiedWeightsComeBackBitByBit(t *testing.T) {
	t.Parallel()
	bits := []uint32{0x80000000, 0x7fc00001, 0x7f800000, 0x00000001}
	parameter := kernel.NewParameter("w", kernel.NewTensor(len(bits)))
	for i, b := range bits {
		parameter.Value.Data[i] = math.Float32frombits(b)
	}
	list := []*kernel.Parameter{parameter}
	weights := graft.CopyWeights(list)
	clear(parameter.Value.Data)
	if err := weights.Restore(list); err != nil {
		t.Fatal(err)
	}
	for i, b := range bits {
		if got := math.Float32bits(parameter.Value.Data[i]); got != b {
			t.Errorf("value %d is %08x, want %08x", i, got, b)
		}
	}
	if err := weights.Restore(nil); err == nil {
		t.Error("weights of one parameter were restored into none")
	}
	if err := weights.Restore([]*kernel.Parameter{kernel.NewParameter("w", kernel.NewTensor(2))}); err == nil {
		t.Error("weights were restored into a parameter of another size")
	}
}
