package kasmina

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// A seed that is really trained on the detached host output earns its place.
func TestSeedLearnsWhatTheHostCannot(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		rng := rand.New(rand.NewPCG(1, 2))
		inputs := kernel.NewTensor(64, testFeatures)
		for i := range inputs.Data {
			inputs.Data[i] = float32(rng.NormFloat64())
		}
		labels := make([]int, 64)
		for row := range labels { // the class is in the next column than the host looks at
			largest := 0
			for col := range testFeatures {
				if inputs.Data[row*testFeatures+col] > inputs.Data[row*testFeatures+largest] {
					largest = col
				}
			}
			labels[row] = (largest + 1) % testFeatures
		}
		task := digitsLike{inputs, labels}
		for epoch := uint32(1); epoch < 60 && w.stage("s") != stageFossilized; epoch++ {
			task.epoch(w, epoch)
			if w.stage("s") == stageProbationary {
				_ = w.manager.HandleCommand(w.ctx, w.command(opFossilize, "s"))
			}
		}
		w.wantStage("s", stageFossilized)
	})
}

// digitsLike is a small task on which a trainer trains the only seed.
type digitsLike struct {
	inputs *kernel.Tensor
	labels []int
}

func (d digitsLike) epoch(w *world, epoch uint32) {
	w.t.Helper()
	before, _ := d.loss(w, "")
	var after, norm float64
	for range 10 {
		after, norm = d.loss(w, "s")
		for _, p := range w.graft.Parameters("s") {
			for i, g := range p.Grad.Data {
				p.Value.Data[i] -= 0.5 * g
			}
		}
		w.graft.AdvanceAlpha("s")
	}
	w.observe("s", epoch, map[string]float32{
		"loss_before": float32(before), "loss_after": float32(after), "train_loss": float32(after),
		"gradient_norm": float32(norm), "host_gradient_max": 0,
	})
}

// loss is the task's loss of the host alone, or with a seed fully in, and the
// seed's gradient norm.
func (d digitsLike) loss(w *world, seedID string) (float64, float64) {
	w.t.Helper()
	tape := kernel.NewTape()
	out := tape.Constant(d.inputs)
	var err error
	if seedID != "" {
		for _, p := range w.graft.Parameters(seedID) {
			p.ZeroGrad()
		}
		out, err = w.graft.Isolated(tape, seedID, out)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	loss, err := tape.SoftmaxCrossEntropy(out, d.labels)
	if err != nil {
		w.t.Fatal(err)
	}
	if seedID == "" {
		return float64(loss.Tensor().Data[0]), 0
	}
	if err := tape.Backward(loss); err != nil {
		w.t.Fatal(err)
	}
	norm := 0.0
	for _, p := range w.graft.Parameters(seedID) {
		for _, g := range p.Grad.Data {
			norm += float64(g * g)
		}
	}
	return float64(loss.Tensor().Data[0]), math.Sqrt(norm)
}
