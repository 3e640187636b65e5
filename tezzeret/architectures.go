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

	// refuses says why a slot makes no sense here, "" when it does.
	refuses func(s Slot, params map[string]float64) string

	// poisons marks a stressor whose output is not finite on purpose.
	poisons bool
}

// refusal is why the architecture cannot be built for a slot, or "".
func (a architecture) refusal(s Slot, params map[string]float64) string {
	if s.Kind() == "" {
		return fmt.Sprintf("slot %+v is neither features, nor a sequence, nor an image", s)
	}
	if a.refuses == nil {
		return ""
	}
	return a.refuses(s, params)
}

// architectureOf returns the architecture that a blueprint's name promises.
func architectureOf(name string) (architecture, bool) {
	for _, family := range architectureFamilies() {
		if a, ok := family()[name]; ok {
			return a, true
		}
	}
	return architecture{}, false
}

// architectureFamilies are the tables of all architectures.
func architectureFamilies() []func() map[string]architecture {
	return []func() map[string]architecture{
		pointwiseArchitectures, denseArchitectures, convolutions, attentions, experiments, stressors,
	}
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

// The tables below hold every network the compiler can build, by the name of
// the blueprint.

// pointwiseArchitectures act on each value or each row.
func pointwiseArchitectures() map[string]architecture {
	return map[string]architecture{
		"identity_passthrough": {build: identityPassthrough, formula: "y = x", reference: "-"},
		"dropout_light": {build: dropoutLight,
			formula: "y = x at inference, dropout at ratio while training", reference: "Srivastava et al. 2014, Dropout"},
		"relu_activation": {build: reluActivation, formula: "y = max(x, 0)", reference: "Nair and Hinton 2010"},
		"gelu_activation": {build: geluActivation, formula: "y = xΦ(x)",
			reference: "Hendrycks and Gimpel 2016, Gaussian error linear units"},
		"batch_norm_1d": {build: batchNorm1D, formula: "y = γ(x-μ)/sqrt(σ²+1e-5) + β",
			reference: "Ioffe and Szegedy 2015, Batch normalization"},
		"linear_projection": {build: linearProjection, view: inRows,
			formula: "y = xW + b, W = scale·I at start", reference: "-"},
		"layer_norm_basic": {build: layerNormBasic, view: inRows,
			formula: "y = γ(x-mean)/sqrt(var+epsilon) + β", reference: "Ba et al. 2016, Layer normalization"},
		"layer_scaling": {build: layerScaling, view: inRows, formula: "y = γx, γ = scale at start",
			reference: "Touvron et al. 2021, Going deeper with image transformers"},
		"learned_positional": {build: learnedPositional, view: inRows, formula: "y = x + p, p sinusoidal at start",
			reference: "Gehring et al. 2017, Convolutional sequence to sequence learning"},
	}
}

// denseArchitectures mix the features of each row.
func denseArchitectures() map[string]architecture {
	return map[string]architecture{
		"skip_connection": {build: skipConnection, view: inRows, formula: "y = x + (xW + b)",
			reference: "He et al. 2016, Identity mappings in deep residual networks"},
		"residual_block": {build: residualBlock, view: inRows, formula: "x += W₂relu(W₁x), depth times",
			reference: "He et al. 2016, Deep residual learning"},
		"concat_fusion": {build: concatFusion, view: inRows, formula: "y = x + P[relu, tanh, silu, gelu branches]",
			reference: "Szegedy et al. 2017, Inception-ResNet"},
		"highway_gate": {build: highwayGate, view: inRows,
			formula:   "y = T relu(Wx) + (1-T)x, T = σ(W'x + gate_bias)",
			reference: "Srivastava et al. 2015, Highway networks"},
		"squeeze_excitation": {build: squeezeExcitation, view: inRows,
			formula:   "y = x·2σ(W₂relu(W₁x)), bottleneck F/reduction",
			reference: "Hu et al. 2018, Squeeze-and-excitation networks"},
		"feedforward_gated": {build: feedForwardGated, view: inRows,
			formula:   "y = x + W₃(silu(W₁x)·W₂x), hidden = multiple·F",
			reference: "Shazeer 2020, GLU variants improve transformer"},
		"dense_connection": {build: denseConnection, view: inRows, formula: "y = W[x, h₁, h₂], growth_rate features each",
			reference: "Huang et al. 2017, Densely connected convolutional networks"},
	}
}

// convolutions mix neighbouring positions.
func convolutions() map[string]architecture {
	return map[string]architecture{
		"pooling_max": {build: poolingMax, view: inChannels, formula: "y = max over kernel neighbours, stride 1",
			reference: "Ranzato et al. 2007, Unsupervised learning of invariant feature hierarchies"},
		"grouped_conv": {build: groupedConv, view: inChannels, formula: "y = x + P relu(G₃ relu(Ex)), G₃ in groups",
			reference: "Xie et al. 2017, Aggregated residual transformations"},
		"depthwise_separable": {build: depthwiseSeparable, view: inChannels,
			formula: "y = x + P relu(D relu(Ex)), D one window a channel", reference: "Chollet 2017, Xception; Sandler et al. 2018"},
		"spatial_attention": {build: spatialAttention, view: inChannels,
			formula: "y = x·2σ(conv[mean, max over channels])", reference: "Woo et al. 2018, CBAM"},
		"dynamic_conv": {build: dynamicConv, view: inChannels, formula: "y = x + P relu(Σ πₑ(Kₑ∗x)), π = softmax(G mean x)",
			reference: "Chen et al. 2020, Dynamic convolution"},
		"adaptive_pooling": {build: adaptivePooling, view: inChannels, formula: "y = x + U W₂relu(W₁Ax), A into output_size bins",
			reference: "He et al. 2015, Spatial pyramid pooling; Zhao et al. 2017"},
		"feature_pyramid": {build: featurePyramid, view: inChannels, refuses: tooSmallForPyramid,
			formula:   "y = x + K Σ up(lateral(level)), levels halved",
			reference: "Lin et al. 2017, Feature pyramid networks"},
		"temporal_conv": {build: temporalConv, view: inChannels, refuses: noTime,
			formula:   "y = x + P relu(C₂relu(C₁x)), causal, dilated",
			reference: "Bai et al. 2018, An empirical evaluation of generic convolutional and recurrent networks"},
		"dilated_conv": {build: dilatedConv, view: inChannels, formula: "y = x + K₃relu(K₂relu(K₁x)), dilation 1 to dilation",
			reference: "Yu and Koltun 2016, Multi-scale context aggregation"},
		"deformable_conv": {build: deformableConv, view: inChannels, refuses: atMost(maxSampled, inChannels),
			formula:   "y = x + P relu(W x(p + Δp)), Δp predicted",
			reference: "Dai et al. 2017, Deformable convolutional networks"},
	}
}

// attentions let positions or channels attend to each other.
func attentions() map[string]architecture {
	tokens := atMost(maxAttended, inTokens)
	return map[string]architecture{
		"channel_attention": {build: channelAttention, view: inTokens, formula: "y = x + W softmax(QᵀK/√P)Vᵀ over channels",
			reference: "Fu et al. 2019, Dual attention network; Zamir et al. 2022, Restormer"},
		"cross_attention": {build: crossAttention, view: inTokens, formula: "y = x + MHA(x, h, h), h = MHA(I, x, x)",
			reference: "Lee et al. 2019, Set transformer"},
		"attention_single_head": {build: attentionSingleHead, view: inTokens,
			formula:   "y = x + A(x, c, c), c = x resampled to sequence_length",
			reference: "Vaswani et al. 2017, Attention is all you need; Wang et al. 2020, Linformer"},
		"multi_head_attention_4": {build: multiHeadAttention, view: inTokens, refuses: tokens,
			formula: "y = x + MHA(x, x, x)", reference: "Vaswani et al. 2017, Attention is all you need"},
		"multi_head_attention_8": {build: multiHeadAttention, view: inTokens, refuses: tokens,
			formula: "y = x + MHA(x, x, x)", reference: "Vaswani et al. 2017, Attention is all you need"},
		"transformer_block": {build: transformerBlock, view: inTokens, refuses: tokens,
			formula: "x += MHA(LN x), x += W₂gelu(W₁LN x), layers times", reference: "Vaswani et al. 2017; Xiong et al. 2020"},
		"conv_transformer": {build: convTransformer, view: inTokens, refuses: tokens,
			formula: "x += W silu(depthwise x), x += MHA(LN x)", reference: "Gulati et al. 2020, Conformer; Wu et al. 2021, CvT"},
		"graph_attention": {build: graphAttention, view: inTokens, refuses: tokens,
			formula: "y = x + U Σⱼ aᵢⱼWxⱼ over neighbours within hops", reference: "Veličković et al. 2018, Graph attention networks"},
		"non_local_block": {build: nonLocalBlock, view: inPositions, refuses: atMost(maxAttended, inPositions),
			formula: "y = x + W softmax(θ(x)φ(x)ᵀ)g(x) in a window", reference: "Wang et al. 2018, Non-local neural networks"},
		"hierarchical_attention": {build: hierarchicalAttention, view: inTokens, refuses: tokens,
			formula:   "y = x + MHA(x, c, c), c = [x, averages by 2, 4, ...]",
			reference: "Yang et al. 2021, Focal self-attention; Zhu and Soricut 2021, H-Transformer-1D"},
	}
}

// experiments need an approval, but for the attention among them.
func experiments() map[string]architecture {
	return map[string]architecture{
		"mixture_of_experts_4": {build: mixtureOfExperts, view: inRows, formula: "y = x + Σ gₑWₑrelu(Vₑx), g = softmax(Gx)",
			reference: "Jacobs et al. 1991; Shazeer et al. 2017"},
		"memory_augmented": {build: memoryAugmented, view: inRows, formula: "y = x + softmax(q(x)Kᵀ/√F)V",
			reference: "Miller et al. 2016, Key-value memory networks"},
		"neural_ode_block": {build: neuralODE, view: inRows, formula: "dx/dt = W₂tanh(W₁x), midpoint rule",
			reference: "Chen et al. 2018, Neural ordinary differential equations"},
		"differentiable_nas": {build: differentiableNAS, view: inRows, formula: "y = x + Σ softmax(a/temperature)·oₖ(x)",
			reference: "Liu et al. 2019, DARTS"},
		"meta_learning_layer": {build: metaLearning, view: inRows, formula: "y = x + cW, c fitted to x in adapt_steps",
			reference: "Zintgraf et al. 2019, Fast context adaptation via meta-learning"},
		"recursive_processing": {build: recursiveProcessing, view: inRows, formula: "h += W tanh(Uh + Vx), depth times",
			reference: "Liao and Poggio 2016; Dehghani et al. 2019"},
	}
}

// stressors need a quarantine.
func stressors() map[string]architecture {
	return map[string]architecture{
		"exploding_gradient": {build: explodingGradient, view: inRows, formula: "y = W₄W₃W₂W₁x, W = scale·I",
			reference: "Bengio et al. 1994; Pascanu et al. 2013"},
		"vanishing_gradient": {build: vanishingGradient, view: inRows, formula: "x ← tanh(Wx + b), W = decay·I, 4 times",
			reference: "Hochreiter 1991; Bengio et al. 1994"},
		"nan_injection": {build: nanInjection, view: inRows, poisons: true,
			formula:   "y = x, NaN where a wave of x is above cos(π·frequency)",
			reference: "Li et al. 2017, Understanding error propagation"},
		"infinite_loop": {build: boundedLoop, view: inRows, formula: "x ← x + r sin(x), iterations/40 times, unrolled",
			reference: "after Graves 2016, Adaptive computation time"},
		"memory_leak": {build: memoryGrowth, view: inRows, formula: "y = mean of copies, growth_rate more after each of 16 steps",
			reference: "after Gao et al. 2020, Estimating GPU memory consumption"},
		"adversarial_noise": {build: adversarialNoise, view: inRows, formula: "y = x + epsilon·sin(311x + φ)",
			reference: "Goodfellow et al. 2015, Explaining and harnessing adversarial examples"},
	}
}
