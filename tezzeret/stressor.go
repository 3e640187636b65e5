package tezzeret

import (
	"math"

	"github.com/esper-lite/weatherlight/kernel"
)

// stressDepth is how many layers the gradient stressors have.
const stressDepth = 4

// explodingGradient is four linear layers, each scale times the identity: the
// output and every gradient that passes grow by scale⁴ (Bengio et al. 1994,
// "Learning long-term dependencies with gradient descent is difficult";
// Pascanu et al. 2013, "On the difficulty of training recurrent networks").
func explodingGradient(g *graph) string {
	x := g.input
	for range stressDepth {
		x = g.linear(x, g.weights.diagonal(g.params["scale"], g.features), 0)
	}
	return x
}

// vanishingGradient is four layers x ← tanh(decay·I·x + b): a gradient that
// passes shrinks by decay⁴ at least, to nothing when decay is 0 (Hochreiter
// 1991; Bengio et al. 1994, "Learning long-term dependencies with gradient
// descent is difficult").
func vanishingGradient(g *graph) string {
	x := g.input
	for range stressDepth {
		x = g.unary("Tanh", g.linear(x, g.weights.diagonal(g.params["decay"], g.features), 0))
	}
	return x
}

func (w *weights) diagonal(value float64, size int) *kernel.Tensor {
	return w.cells(size, size, func(row, column int) float32 { return float32(value * float64(flag(row == column))) })
}

// stressWave is sin(311·x + φ) with a phase of its own for each feature: a
// fixed function of the input that looks like noise, since close inputs give
// unlike values.
func (g *graph) stressWave() string {
	const golden = 0.6180339887498949
	phases := g.weights.made(func(i int) float32 {
		turn := float64(float64(i+1) * golden)
		return rounded(2 * math.Pi * (turn - math.Floor(turn)))
	}, g.features)
	return g.unary("Sin", g.binary("Add", g.scaled(g.input, 311), g.frozen("phase", phases)))
}

// nanInjection is x with a share of frequency of its elements replaced by NaN.
// Which ones follows from the input alone: those where a wave of it is above
// cos(π·frequency), which a share of frequency of a wave is. The NaN is made as
// ∞ - ∞, since a kernel holds finite constants only (after the fault injection
// of Li et al. 2017, "Understanding error propagation in deep learning neural
// network accelerators").
func nanInjection(g *graph) string {
	threshold := g.scalar(float64(rounded(math.Cos(math.Pi * g.params["frequency"]))))
	above := g.unary("Relu", g.binary("Sub", g.stressWave(), threshold))
	huge := g.scalar(1e38)
	infinite := g.binary("Mul", g.binary("Mul", above, huge), huge) // ∞ above, 0 elsewhere
	return g.binary("Add", g.input, g.binary("Sub", infinite, infinite))
}

// iterationsPerStep is how many iterations that a blueprint asks for become one
// step of the unrolled loop: 10000 of them are 250 steps of three operators,
// which stays within the kernel's bound on nodes.
const iterationsPerStep = 40

// boundedLoop stands for a loop without end: one step after another of
// x ← x + r⊙sin(x), unrolled, so that it is long but ends. The learned rate r
// is shared by all steps (the bound replaces the halting of Graves 2016,
// "Adaptive computation time").
func boundedLoop(g *graph) string {
	steps := count(g.params["iterations"] / iterationsPerStep)
	rate := g.trainable("rate", g.weights.filled(gentle/float64(steps), g.features))
	x := g.input
	for range steps {
		x = g.binary("Add", x, g.binary("Mul", g.unary("Sin", x), rate))
	}
	return x
}

// leakSteps is how many times the memory stressor grows.
const leakSteps = 16

// memoryGrowth keeps growth_rate more copies of the input after each of 16
// steps, all of them held until the pass is over, so that memory grows with
// the square of the steps and stays bounded; its output is the mean of the
// copies, the input (after the failure studied by Gao et al. 2020, "Estimating
// GPU memory consumption of deep learning models").
func memoryGrowth(g *graph) string {
	rows := len(g.grid) > 0
	kept := g.input
	if !rows {
		kept = g.reshape(kept, 1, g.features)
	}
	one, copies := kept, 1
	for step := range leakSteps {
		target := 1 + count(float64(step+1)*g.params["growth_rate"])
		parts := []string{kept}
		for ; copies < target; copies++ {
			parts = append(parts, one)
		}
		kept = g.joinAlong(0, parts...)
	}
	if !rows {
		return g.mean(kept, 0, false)
	}
	return g.mean(g.reshape(kept, copies, g.positions(), g.features), 0, false)
}

// adversarialNoise is x + epsilon·n with n in [-1, 1]: noise that follows from
// the input, so that a run can be repeated (the bound by epsilon from
// Goodfellow et al. 2015, "Explaining and harnessing adversarial examples").
func adversarialNoise(g *graph) string {
	return g.binary("Add", g.input, g.scaled(g.stressWave(), g.params["epsilon"]))
}
