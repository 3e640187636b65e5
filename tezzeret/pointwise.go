package tezzeret

import (
	"math"

	"github.com/esper-lite/weatherlight/kernel"
)

// identityPassthrough is y = x, the shortcut on its own (He et al. 2016,
// "Identity mappings in deep residual networks").
func identityPassthrough(g *graph) string { return g.unary("Identity", g.input) }

// linearProjection is y = x·W + b with W started at scale times the identity
// (Le et al. 2015, "A simple way to initialize recurrent networks of rectified
// linear units").
func linearProjection(g *graph) string {
	return g.linear(g.input, g.weights.nearIdentity(g.params["scale"], g.features, g.features), 0)
}

// layerNormBasic is y = γ·(x-mean)/sqrt(variance+epsilon) + β over the
// features of each row (Ba et al. 2016, "Layer normalization").
func layerNormBasic(g *graph) string {
	return g.layerNorm(g.input, g.params["epsilon"])
}

// dropoutLight zeroes features at the given ratio while training and passes
// them on otherwise (Srivastava et al. 2014, "Dropout").
func dropoutLight(g *graph) string {
	ratio := g.frozen("ratio", g.weights.filled(g.params["dropout"]))
	return g.applyTo("Dropout", g.shape[g.input], []string{g.input, ratio})
}

// reluActivation is y = max(x, 0) (Nair and Hinton 2010, "Rectified linear
// units improve restricted Boltzmann machines").
func reluActivation(g *graph) string { return g.unary("Relu", g.input) }

// batchNorm1D is y = γ·(x-μ)/sqrt(σ²+1e-5) + β with running statistics μ = 0
// and σ² = 1 at the start, which move by the given momentum where a runtime
// updates them; the statistics are those of a feature or a channel, over all
// positions (Ioffe and Szegedy 2015, "Batch normalization").
func batchNorm1D(g *graph) string {
	x := g.input
	if g.slot.Kind() == KindSequence { // the operator wants channels first
		x = g.channels(x)
	}
	inputs := []string{
		x,
		g.trainable("gamma", g.weights.filled(1, g.features)),
		g.trainable("beta", g.weights.filled(0, g.features)),
		g.frozen("mean", g.weights.filled(0, g.features)),
		g.frozen("variance", g.weights.filled(1, g.features)),
	}
	return g.applyTo("BatchNormalization", g.shape[x], inputs,
		kernel.FloatAttr("epsilon", 1e-5), kernel.FloatAttr("momentum", float32(g.params["momentum"])))
}

// geluActivation is y = x·Φ(x) (Hendrycks and Gimpel 2016, "Gaussian error
// linear units").
func geluActivation(g *graph) string { return g.gelu(g.input) }

// layerScaling is y = γ⊙x with one learned factor a feature, started at scale
// (Touvron et al. 2021, "Going deeper with image transformers").
func layerScaling(g *graph) string {
	return g.binary("Mul", g.input, g.trainable("gamma", g.weights.filled(g.params["scale"], g.features)))
}

// learnedPositional is y = x + p with one learned offset a feature and
// position. A feature vector's offsets start at a tenth of the sine (even) and
// cosine (odd) of frequency times the feature's place; with positions, the
// angle is frequency times the position, slower for later features (Gehring et
// al. 2017, "Convolutional sequence to sequence learning"; the start from
// Vaswani et al. 2017, "Attention is all you need").
func learnedPositional(g *graph) string {
	frequency := g.params["frequency"]
	if g.grid == nil {
		offsets := g.weights.made(func(i int) float32 { return wave(i, frequency*float64(i)) }, g.features)
		return g.binary("Add", g.input, g.trainable("position", offsets))
	}
	offsets := g.weights.cells(g.positions(), g.features, func(position, feature int) float32 {
		slower := math.Pow(10000, -float64(feature/2*2)/float64(g.features))
		return wave(feature, frequency*float64(position)*slower)
	})
	return g.binary("Add", g.input, g.trainable("position", offsets))
}

// wave is a tenth of the sine of an angle for an even place, the cosine for an
// odd one, rounded, so that the last bit of a machine's sine is no matter.
func wave(place int, angle float64) float32 {
	if place%2 == 1 {
		return rounded(0.1 * math.Cos(angle))
	}
	return rounded(0.1 * math.Sin(angle))
}
