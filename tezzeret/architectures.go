package tezzeret

import (
	"fmt"
	"slices"
)

// architecture is how one blueprint is built.
type architecture struct {
	// build composes the network from the graph's input, which is the slot in
	// the view below, and returns its output in the same view.
	build func(g *graph) string

	// view is how the architecture looks at a slot.
	view view

	// formula and reference document the kernel, in its metadata too.
	formula, reference string
}

// poisons is the stressor whose output is not finite on purpose.
const poisons = "nan_injection"

// refusal is why the architecture of a name cannot be built for a slot, or "".
func refusal(name string, s Slot, params map[string]float64) string {
	if s.Kind() == "" {
		return fmt.Sprintf("slot %+v is neither features, nor a sequence, nor an image", s)
	}
	if refuses := refusals[name]; refuses != nil {
		return refuses(s, params)
	}
	return ""
}

// gridOf is the grid of positions that a slot has in a view.
func gridOf(s Slot, v view) []int {
	g := newGraph(s, nil, nil)
	g.enter(v)
	return g.grid
}

// maxAttended bounds the positions that attend to each other: the scores grow
// with the square.
const maxAttended = 512

// atMost refuses slots of more positions than limit.
func atMost(limit int, v view) func(Slot, map[string]float64) string {
	return func(s Slot, _ map[string]float64) string {
		if n := volume(gridOf(s, v)); n > limit {
			return fmt.Sprintf("compares every position with every other; the slot %s has %d, at most %d are built",
				s, n, limit)
		}
		return ""
	}
}

// noTime refuses images.
func noTime(s Slot, _ map[string]float64) string {
	if s.Kind() == KindImage {
		return fmt.Sprintf("has causal order in time; the slot %s has no time axis", s)
	}
	return ""
}

// tooSmallForPyramid refuses slots that cannot be halved often enough.
func tooSmallForPyramid(s Slot, params map[string]float64) string {
	levels := count(params["levels"])
	if least := 1 << (levels - 1); slices.Min(gridOf(s, inChannels)) < least {
		return fmt.Sprintf("a pyramid of %d levels wants %d positions along each axis; the slot %s has fewer",
			levels, least, s)
	}
	return ""
}

// maxSampled bounds the positions of a deformable convolution, whose sampling
// is a matrix over all positions.
const maxSampled = 196

// architectures is every network that the compiler can build, by the name of the
// blueprint. It is only ever looked up by name.
var architectures = map[string]architecture{
	// Act on each value or each row.
	"identity_passthrough": {identityPassthrough, asIs, "y = x", "-"},
	"dropout_light": {dropoutLight, asIs, "y = x at inference, dropout at ratio while training",
		"Srivastava et al. 2014, Dropout"},
	"relu_activation":   {reluActivation, asIs, "y = max(x, 0)", "Nair and Hinton 2010"},
	"gelu_activation":   {geluActivation, asIs, "y = xΦ(x)", "Hendrycks and Gimpel 2016, Gaussian error linear units"},
	"batch_norm_1d":     {batchNorm1D, asIs, "y = γ(x-μ)/sqrt(σ²+1e-5) + β", "Ioffe and Szegedy 2015, Batch normalization"},
	"linear_projection": {linearProjection, inRows, "y = xW + b, W = scale·I at start", "-"},
	"layer_norm_basic":  {layerNormBasic, inRows, "y = γ(x-mean)/sqrt(var+epsilon) + β", "Ba et al. 2016, Layer normalization"},
	"layer_scaling": {layerScaling, inRows, "y = γx, γ = scale at start",
		"Touvron et al. 2021, Going deeper with image transformers"},
	"learned_positional": {learnedPositional, inRows, "y = x + p, p sinusoidal at start",
		"Gehring et al. 2017, Convolutional sequence to sequence learning"},

	// Mix the features of each row.
	"skip_connection": {skipConnection, inRows, "y = x + (xW + b)",
		"He et al. 2016, Identity mappings in deep residual networks"},
	"residual_block": {residualBlock, inRows, "x += W₂relu(W₁x), depth times", "He et al. 2016, Deep residual learning"},
	"concat_fusion": {concatFusion, inRows, "y = x + P[relu, tanh, silu, gelu branches]",
		"Szegedy et al. 2017, Inception-ResNet"},
	"highway_gate": {highwayGate, inRows, "y = T relu(Wx) + (1-T)x, T = σ(W'x + gate_bias)",
		"Srivastava et al. 2015, Highway networks"},
	"squeeze_excitation": {squeezeExcitation, inRows, "y = x·2σ(W₂relu(W₁x)), bottleneck F/reduction",
		"Hu et al. 2018, Squeeze-and-excitation networks"},
	"feedforward_gated": {feedForwardGated, inRows, "y = x + W₃(silu(W₁x)·W₂x), hidden = multiple·F",
		"Shazeer 2020, GLU variants improve transformer"},
	"dense_connection": {denseConnection, inRows, "y = W[x, h₁, h₂], growth_rate features each",
		"Huang et al. 2017, Densely connected convolutional networks"},

	// Mix neighbouring positions.
	"pooling_max": {poolingMax, inChannels, "y = max over kernel neighbours, stride 1",
		"Ranzato et al. 2007, Unsupervised learning of invariant feature hierarchies"},
	"grouped_conv": {groupedConv, inChannels, "y = x + P relu(G₃ relu(Ex)), G₃ in groups",
		"Xie et al. 2017, Aggregated residual transformations"},
	"depthwise_separable": {depthwiseSeparable, inChannels, "y = x + P relu(D relu(Ex)), D one window a channel",
		"Chollet 2017, Xception; Sandler et al. 2018"},
	"spatial_attention": {spatialAttention, inChannels, "y = x·2σ(conv[mean, max over channels])", "Woo et al. 2018, CBAM"},
	"dynamic_conv": {dynamicConv, inChannels, "y = x + P relu(Σ πₑ(Kₑ∗x)), π = softmax(G mean x)",
		"Chen et al. 2020, Dynamic convolution"},
	"adaptive_pooling": {adaptivePooling, inChannels, "y = x + U W₂relu(W₁Ax), A into output_size bins",
		"He et al. 2015, Spatial pyramid pooling; Zhao et al. 2017"},
	"feature_pyramid": {featurePyramid, inChannels, "y = x + K Σ up(lateral(level)), levels halved",
		"Lin et al. 2017, Feature pyramid networks"},
	"temporal_conv": {temporalConv, inChannels, "y = x + P relu(C₂relu(C₁x)), causal, dilated",
		"Bai et al. 2018, An empirical evaluation of generic convolutional and recurrent networks"},
	"dilated_conv": {dilatedConv, inChannels, "y = x + K₃relu(K₂relu(K₁x)), dilation 1 to dilation",
		"Yu and Koltun 2016, Multi-scale context aggregation"},
	"deformable_conv": {deformableConv, inChannels, "y = x + P relu(W x(p + Δp)), Δp predicted",
		"Dai et al. 2017, Deformable convolutional networks"},

	// Let positions or channels attend to each other.
	"channel_attention": {channelAttention, inTokens, "y = x + W softmax(QᵀK/√P)Vᵀ over channels",
		"Fu et al. 2019, Dual attention network; Zamir et al. 2022, Restormer"},
	"cross_attention": {crossAttention, inTokens, "y = x + MHA(x, h, h), h = MHA(I, x, x)", "Lee et al. 2019, Set transformer"},
	"attention_single_head": {attentionSingleHead, inTokens, "y = x + A(x, c, c), c = x resampled to sequence_length",
		"Vaswani et al. 2017, Attention is all you need; Wang et al. 2020, Linformer"},
	"multi_head_attention_4": {multiHeadAttention, inTokens, "y = x + MHA(x, x, x)",
		"Vaswani et al. 2017, Attention is all you need"},
	"multi_head_attention_8": {multiHeadAttention, inTokens, "y = x + MHA(x, x, x)",
		"Vaswani et al. 2017, Attention is all you need"},
	"transformer_block": {transformerBlock, inTokens, "x += MHA(LN x), x += W₂gelu(W₁LN x), layers times",
		"Vaswani et al. 2017; Xiong et al. 2020"},
	"conv_transformer": {convTransformer, inTokens, "x += W silu(depthwise x), x += MHA(LN x)",
		"Gulati et al. 2020, Conformer; Wu et al. 2021, CvT"},
	"graph_attention": {graphAttention, inTokens, "y = x + U Σⱼ aᵢⱼWxⱼ over neighbours within hops",
		"Veličković et al. 2018, Graph attention networks"},
	"non_local_block": {nonLocalBlock, inPositions, "y = x + W softmax(θ(x)φ(x)ᵀ)g(x) in a window",
		"Wang et al. 2018, Non-local neural networks"},
	"hierarchical_attention": {hierarchicalAttention, inTokens, "y = x + MHA(x, c, c), c = [x, averages by 2, 4, ...]",
		"Yang et al. 2021, Focal self-attention; Zhu and Soricut 2021, H-Transformer-1D"},

	// Need an approval, but for the attention among them.
	"mixture_of_experts_4": {mixtureOfExperts, inRows, "y = x + Σ gₑWₑrelu(Vₑx), g = softmax(Gx)",
		"Jacobs et al. 1991; Shazeer et al. 2017"},
	"memory_augmented": {memoryAugmented, inRows, "y = x + softmax(q(x)Kᵀ/√F)V", "Miller et al. 2016, Key-value memory networks"},
	"neural_ode_block": {neuralODE, inRows, "dx/dt = W₂tanh(W₁x), midpoint rule",
		"Chen et al. 2018, Neural ordinary differential equations"},
	"differentiable_nas": {differentiableNAS, inRows, "y = x + Σ softmax(a/temperature)·oₖ(x)", "Liu et al. 2019, DARTS"},
	"meta_learning_layer": {metaLearning, inRows, "y = x + cW, c fitted to x in adapt_steps",
		"Zintgraf et al. 2019, Fast context adaptation via meta-learning"},
	"recursive_processing": {recursiveProcessing, inRows, "h += W tanh(Uh + Vx), depth times",
		"Liao and Poggio 2016; Dehghani et al. 2019"},

	// Need a quarantine.
	"exploding_gradient": {explodingGradient, inRows, "y = W₄W₃W₂W₁x, W = scale·I", "Bengio et al. 1994; Pascanu et al. 2013"},
	"vanishing_gradient": {vanishingGradient, inRows, "x ← tanh(Wx + b), W = decay·I, 4 times",
		"Hochreiter 1991; Bengio et al. 1994"},
	"nan_injection": {nanInjection, inRows, "y = x, NaN where a wave of x is above cos(π·frequency)",
		"Li et al. 2017, Understanding error propagation"},
	"infinite_loop": {boundedLoop, inRows, "x ← x + r sin(x), iterations/40 times, unrolled",
		"after Graves 2016, Adaptive computation time"},
	"memory_leak": {memoryGrowth, inRows, "y = mean of copies, growth_rate more after each of 16 steps",
		"after Gao et al. 2020, Estimating GPU memory consumption"},
	"adversarial_noise": {adversarialNoise, inRows, "y = x + epsilon·sin(311x + φ)",
		"Goodfellow et al. 2015, Explaining and harnessing adversarial examples"},
}

// refusals say of architectures why a slot makes no sense for them, "" when it does.
var refusals = map[string]func(s Slot, params map[string]float64) string{
	"feature_pyramid":        tooSmallForPyramid,
	"temporal_conv":          noTime,
	"deformable_conv":        atMost(maxSampled, inChannels),
	"multi_head_attention_4": atMost(maxAttended, inTokens),
	"multi_head_attention_8": atMost(maxAttended, inTokens),
	"transformer_block":      atMost(maxAttended, inTokens),
	"conv_transformer":       atMost(maxAttended, inTokens),
	"graph_attention":        atMost(maxAttended, inTokens),
	"non_local_block":        atMost(maxAttended, inPositions),
	"hierarchical_attention": atMost(maxAttended, inTokens),
}
