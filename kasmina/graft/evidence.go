package graft

import (
	"errors"
	"fmt"
	"math"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Evidence is what a trainer measured of one seed for a report.
type Evidence struct {
	// Loss and Accuracy (0 to 1) compare the same held-out examples without the
	// seed (Slot.Without) and with it fully in (Slot.With).
	Loss, Accuracy Comparison
	TrainLoss      *float64 // mean of the steps since the last report [not trained]
	Cosine         *float64 // of Slot.Cosine [not measured]
	LearningRate   float64
	Metrics        map[string]float64 // more of the trainer's own
}

// Comparison is a measure of the same examples without and with a seed.
type Comparison struct {
	Before, After float64 // means
	Error         float64 // standard error of the mean of the paired differences; unknown of one example
	Examples      int     // 0: not measured
}

// Compare compares a measure example by example: losses, or 1 for a right answer
// and 0 for a wrong one. The two lists are of the same examples in the same
// order. What is not a number stays so.
func Compare(before, after []float64) (Comparison, error) {
	if len(before) != len(after) {
		return Comparison{}, fmt.Errorf("graft: compare %d examples with %d", len(before), len(after))
	}
	n := float64(len(before))
	if n == 0 {
		return Comparison{}, nil
	}
	c := Comparison{Examples: len(before)}
	difference := 0.0
	for i := range before {
		c.Before += before[i] / n
		c.After += after[i] / n
		difference += (after[i] - before[i]) / n
	}
	if len(before) == 1 {
		return c, nil // one pair tells nothing of the spread
	}
	squares := 0.0
	for i := range before {
		d := after[i] - before[i] - difference
		squares += d * d
	}
	c.Error = math.Sqrt(squares / (n - 1) / n)
	return c, nil
}

// tell writes the evidence into a seed's state.
func (e *Evidence) tell(state *leyline.SeedState) {
	metrics := state.Metrics
	for name, value := range e.Metrics {
		metrics[name] = float32(value)
	}
	if e.Loss.Examples > 0 {
		metrics[trainer.MetricLossBefore], metrics[trainer.MetricLossAfter] = float32(e.Loss.Before), float32(e.Loss.After)
	}
	if e.Loss.Examples > 1 {
		metrics[trainer.MetricLossError] = float32(e.Loss.Error)
	}
	if e.Accuracy.Examples > 0 {
		metrics[trainer.MetricAccuracyBefore] = float32(e.Accuracy.Before)
		metrics[trainer.MetricAccuracyAfter] = float32(e.Accuracy.After)
	}
	if e.Accuracy.Examples > 1 {
		metrics[trainer.MetricAccuracyError] = float32(e.Accuracy.Error)
	}
	if examples := max(e.Loss.Examples, e.Accuracy.Examples); examples > 0 {
		metrics[trainer.MetricHeldOut] = count(examples)
	}
	if e.Cosine != nil {
		metrics[trainer.MetricGradientCosine] = float32(*e.Cosine)
	}
	if e.TrainLoss != nil {
		metrics[trainer.MetricTrainLoss] = float32(*e.TrainLoss)
	}
	state.LearningRate = float32(e.LearningRate)
}

// Cosine is the cosine between the gradients, by the activations at the slot, of
// the loss without one seed and of the loss with it fully in: whether both pull
// the shared activations the same way. The other seeds are as they are. It is 0 when
// either has no gradient, and an error when the seed fails.
//
// host is a batch of activations. loss takes the output at the slot to a single
// element and is called twice. The tape is reset. The gradients of seeds are as
// before; parameters that loss records have gradients added, as by any Backward.
func (s *Slot) Cosine(t *kernel.Tape, seedID string, host *kernel.Tensor,
	loss func(*kernel.Tape, kernel.Value) (kernel.Value, error)) (float64, error) {
	seed := s.find(seedID)
	if seed == nil {
		return 0, fmt.Errorf("slot %s: no seed %q", s.name, seedID)
	}
	gradients := s.gradients()
	stood, faults := CopyWeights(gradients), seed.meters.faults
	alone, err := s.gradientAt(t, host, loss, route{without: seedID, open: true})
	var grown []float32
	if err == nil {
		grown, err = s.gradientAt(t, host, loss, route{full: seedID, open: true})
	}
	if err = errors.Join(err, stood.Restore(gradients)); err != nil {
		return 0, err
	}
	if seed.meters.faults > faults {
		return 0, fmt.Errorf("slot %s: seed %s failed: %s", s.name, seedID, seed.meters.fault)
	}
	return cosine(alone, grown), nil
}

// gradientAt is a copy of the gradient of a loss by the activations.
func (s *Slot) gradientAt(t *kernel.Tape, host *kernel.Tensor,
	loss func(*kernel.Tape, kernel.Value) (kernel.Value, error), r route) ([]float32, error) {
	t.Reset()
	x := t.Input(host)
	out, err := s.chain(t, x, r)
	if err != nil {
		return nil, err
	}
	value, err := loss(t, out)
	if err == nil {
		err = t.Backward(value)
	}
	if err != nil {
		return nil, fmt.Errorf("slot %s: gradient of the activations: %w", s.name, err)
	}
	return append([]float32(nil), x.Grad().Data...), nil
}

// gradients are those of the slot's seeds, in the form of parameters.
func (s *Slot) gradients() []*kernel.Parameter {
	var list []*kernel.Parameter
	for _, seed := range s.seeds {
		for _, parameter := range seed.instance.Parameters() {
			if parameter.Grad == nil {
				parameter.Grad = kernel.NewTensor(parameter.Value.Shape...)
			}
			list = append(list, &kernel.Parameter{Name: parameter.Name, Value: parameter.Grad})
		}
	}
	return list
}

func cosine(a, b []float32) float64 {
	var product, first, second float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		product, first, second = product+x*y, first+x*x, second+y*y
	}
	if first == 0 || second == 0 {
		return 0
	}
	return min(max(product/math.Sqrt(first)/math.Sqrt(second), -1), 1) // rounding may pass the bounds
}
