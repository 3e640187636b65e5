package tezzeret

import (
	"math"

	"github.com/esper-lite/weatherlight/kernel"
)

// identityPassthrough is y = x.
func identityPassthrough(g *graph) string { return g.unary("Identity", hostInput) }

// linearProjection is y = x·W + b with W started at scale times the identity.
func linearProjection(g *graph) string {
	return g.linear(hostInput, g.weights.nearIdentity(g.params["scale"], g.features, g.features), 0)
}

// layerNormBasic is y = γ·(x-mean)/sqrt(variance+epsilon) + β over the
// features of each row (Ba et al. 2016, "Layer normalization").
func layerNormBasic(g *graph) string {
	gamma := g.trainable("gamma", filled(1, g.features))
	beta := g.trainable("beta", filled(0, g.features))
	return g.apply("LayerNormalization", g.features, []string{hostInput, gamma, beta},
		kernel.IntAttr("axis", -1), kernel.FloatAttr("epsilon", float32(g.params["epsilon"])))
}

// dropoutLight zeroes features at the given ratio while training and passes
// them on otherwise (Srivastava et al. 2014, "Dropout").
func dropoutLight(g *graph) string {
	ratio := g.frozen("ratio", filled(g.params["dropout"]))
	return g.apply("Dropout", g.features, []string{hostInput, ratio})
}

// reluActivation is y = max(x, 0) (Nair and Hinton 2010, "Rectified linear
// units improve restricted Boltzmann machines").
func reluActivation(g *graph) string { return g.unary("Relu", hostInput) }

// batchNorm1D is y = γ·(x-μ)/sqrt(σ²+1e-5) + β with running statistics μ = 0
// and σ² = 1 at the start, which move by the given momentum where a runtime
// updates them (Ioffe and Szegedy 2015, "Batch normalization").
func batchNorm1D(g *graph) string {
	inputs := []string{
		hostInput,
		g.trainable("gamma", filled(1, g.features)),
		g.trainable("beta", filled(0, g.features)),
		g.frozen("mean", filled(0, g.features)),
		g.frozen("variance", filled(1, g.features)),
	}
	return g.apply("BatchNormalization", g.features, inputs,
		kernel.FloatAttr("epsilon", 1e-5), kernel.FloatAttr("momentum", float32(g.params["momentum"])))
}

// geluActivation is y = x·Φ(x) (Hendrycks and Gimpel 2016, "Gaussian error
// linear units").
func geluActivation(g *graph) string { return g.gelu(hostInput) }

// layerScaling is y = γ⊙x with one learned factor a feature, started at scale
// (Touvron et al. 2021, "Going deeper with image transformers").
func layerScaling(g *graph) string {
	return g.binary("Mul", hostInput, g.trainable("gamma", filled(g.params["scale"], g.features)))
}

// learnedPositional is y = x + p with one learned offset a feature position,
// started at a tenth of the sine (even) and cosine (odd) of frequency times
// position (Gehring et al. 2017, "Convolutional sequence to sequence
// learning"; the start from Vaswani et al. 2017, "Attention is all you need").
func learnedPositional(g *graph) string {
	offsets := kernel.NewTensor(g.features)
	for i := range offsets.Data {
		wave := math.Sin
		if i%2 == 1 {
			wave = math.Cos
		}
		// Rounded to 2^-20, so that the last bit of a machine's sine is no matter.
		offsets.Data[i] = float32(math.Round(0.1*wave(g.params["frequency"]*float64(i))*(1<<20)) / (1 << 20))
	}
	return g.binary("Add", hostInput, g.trainable("position", offsets))
}
