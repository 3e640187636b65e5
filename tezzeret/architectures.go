package tezzeret

// architecture is how one blueprint is built.
type architecture struct {
	// build composes the network from hostInput and returns its output.
	build func(g *graph) string

	// formula and reference document the kernel, in its metadata too.
	formula, reference string
}

// architectureOf returns the architecture that a blueprint's name promises.
func architectureOf(name string) (architecture, bool) {
	a, ok := architectures()[name]
	return a, ok
}

// architectures holds every network the compiler can build, by blueprint name.
func architectures() map[string]architecture {
	return map[string]architecture{
		"identity_passthrough": {identityPassthrough, "y = x", "-"},
		"linear_projection":    {linearProjection, "y = xW + b, W = scale·I at start", "-"},
		"layer_norm_basic": {layerNormBasic, "y = γ(x-mean)/sqrt(var+epsilon) + β",
			"Ba et al. 2016, Layer normalization"},
		"dropout_light": {dropoutLight, "y = x at inference, dropout at ratio while training",
			"Srivastava et al. 2014, Dropout"},
		"relu_activation": {reluActivation, "y = max(x, 0)", "Nair and Hinton 2010"},
		"batch_norm_1d": {batchNorm1D, "y = γ(x-μ)/sqrt(σ²+1e-5) + β",
			"Ioffe and Szegedy 2015, Batch normalization"},
		"skip_connection": {skipConnection, "y = x + (xW + b)",
			"He et al. 2016, Identity mappings in deep residual networks"},
		"residual_block": {residualBlock, "x += W₂relu(W₁x), depth times",
			"He et al. 2016, Deep residual learning"},
		"concat_fusion": {concatFusion, "y = x + P[relu, tanh, silu, gelu branches]",
			"Szegedy et al. 2017, Inception-ResNet"},
		"gelu_activation": {geluActivation, "y = xΦ(x)",
			"Hendrycks and Gimpel 2016, Gaussian error linear units"},
		"layer_scaling": {layerScaling, "y = γx, γ = scale at start",
			"Touvron et al. 2021, Going deeper with image transformers"},
		"highway_gate": {highwayGate, "y = T relu(Wx) + (1-T)x, T = σ(W'x + gate_bias)",
			"Srivastava et al. 2015, Highway networks"},
		"squeeze_excitation": {squeezeExcitation, "y = x·2σ(W₂relu(W₁x)), bottleneck F/reduction",
			"Hu et al. 2018, Squeeze-and-excitation networks"},
		"feedforward_gated": {feedForwardGated, "y = x + W₃(silu(W₁x)·W₂x), hidden = multiple·F",
			"Shazeer 2020, GLU variants improve transformer"},
		"dense_connection": {denseConnection, "y = W[x, h₁, h₂], growth_rate features each",
			"Huang et al. 2017, Densely connected convolutional networks"},
		"learned_positional": {learnedPositional, "y = x + p, p sinusoidal at start",
			"Gehring et al. 2017, Convolutional sequence to sequence learning"},
		"mixture_of_experts_4": {mixtureOfExperts, "y = x + Σ gₑWₑrelu(Vₑx), g = softmax(Gx)",
			"Jacobs et al. 1991; Shazeer et al. 2017"},
		"memory_augmented": {memoryAugmented, "y = x + softmax(q(x)Kᵀ/√F)V",
			"Miller et al. 2016, Key-value memory networks"},
		"neural_ode_block": {neuralODE, "dx/dt = W₂tanh(W₁x), midpoint rule",
			"Chen et al. 2018, Neural ordinary differential equations"},
		"differentiable_nas": {differentiableNAS, "y = x + Σ softmax(a/temperature)·oₖ(x)",
			"Liu et al. 2019, DARTS"},
		"meta_learning_layer": {metaLearning, "y = x + cW, c fitted to x in adapt_steps",
			"Zintgraf et al. 2019, Fast context adaptation via meta-learning"},
		"recursive_processing": {recursiveProcessing, "h += W tanh(Uh + Vx), depth times",
			"Liao and Poggio 2016; Dehghani et al. 2019"},
	}
}
