package karn

import "github.com/esper-lite/weatherlight/leyline"

// span is the closed interval of one parameter.
type span struct{ min, max float64 }

// spans are the declared parameters of one template, by name.
type spans map[string]span

// template is one row of the catalogue; its tier decides whether it needs an
// approval or a quarantine.
type template struct {
	id, name    string
	risk        float32
	stage       uint32
	spans       spans
	description string
}

// safeTemplates need no permission.
func safeTemplates() []template {
	return []template{
		{"BP001", "identity_passthrough", 0, 0, nil, "Identity pass-through block"},
		{"BP002", "linear_projection", 0.1, 0, spans{"scale": {0.5, 2}}, "Linear projection layer"},
		{"BP003", "layer_norm_basic", 0.1, 0, spans{"epsilon": {1e-06, 0.001}}, "Layer normalization"},
		{"BP004", "dropout_light", 0.2, 0, spans{"dropout": {0, 0.4}}, "Lightweight dropout"},
		{"BP005", "relu_activation", 0.1, 0, nil, "ReLU activation"},
		{"BP006", "batch_norm_1d", 0.2, 0, spans{"momentum": {0.5, 0.99}}, "1D batch normalization"},
		{"BP007", "pooling_max", 0.2, 0, spans{"kernel": {2, 5}}, "Max pooling block"},
		{"BP008", "skip_connection", 0.2, 1, nil, "Skip connection"},
		{"BP009", "residual_block", 0.3, 1, spans{"depth": {1, 4}}, "Residual block"},
		{"BP010", "concat_fusion", 0.3, 1, spans{"branches": {2, 4}}, "Concatenation fusion block"},
		{"BP011", "gelu_activation", 0.2, 1, nil, "GELU activation"},
		{"BP012", "layer_scaling", 0.3, 1, spans{"scale": {0.8, 1.2}}, "Layer scaling block"},
		{"BP013", "grouped_conv", 0.4, 1, spans{"groups": {2, 8}}, "Grouped convolution"},
		{"BP014", "highway_gate", 0.4, 1, spans{"gate_bias": {-3, 3}}, "Highway gating block"},
		{"BP015", "depthwise_separable", 0.4, 2, spans{"kernel": {3, 7}}, "Depthwise separable convolution"},
		{"BP016", "squeeze_excitation", 0.4, 2, spans{"reduction": {4, 16}}, "Squeeze-and-Excitation block"},
		{"BP017", "channel_attention", 0.4, 2, spans{"heads": {1, 4}}, "Channel attention block"},
		{"BP018", "spatial_attention", 0.4, 2, spans{"radius": {1, 3}}, "Spatial attention block"},
		{"BP019", "cross_attention", 0.5, 2, spans{"heads": {2, 4}}, "Cross-attention module"},
		{"BP020", "attention_single_head", 0.5, 2, spans{"sequence_length": {16, 256}}, "Single-head attention"},
		{"BP021", "feedforward_gated", 0.5, 2, spans{"hidden_multiple": {2, 6}}, "Gated feed-forward block"},
		{"BP022", "multi_head_attention_4", 0.5, 3, spans{"heads": {4, 6}}, "Multi-head attention (4 heads)"},
		{"BP023", "transformer_block", 0.5, 3, spans{"layers": {1, 6}}, "Transformer encoder block"},
		{"BP024", "conv_transformer", 0.5, 3, spans{"kernel": {3, 11}}, "Hybrid conv-transformer block"},
		{"BP025", "dynamic_conv", 0.5, 3, spans{"experts": {2, 8}}, "Dynamic convolution module"},
		{"BP026", "adaptive_pooling", 0.5, 3, spans{"output_size": {4, 16}}, "Adaptive pooling head"},
		{"BP027", "feature_pyramid", 0.5, 3, spans{"levels": {3, 5}}, "Feature pyramid fusion"},
		{"BP028", "dense_connection", 0.5, 3, spans{"growth_rate": {8, 48}}, "Dense connection block"},
		{"BP029", "multi_head_attention_8", 0.5, 4, spans{"heads": {8, 10}}, "Multi-head attention (8 heads)"},
		{"BP030", "graph_attention", 0.5, 4, spans{"hops": {1, 3}}, "Graph attention layer"},
		{"BP031", "temporal_conv", 0.5, 4, spans{"dilation": {1, 5}}, "Temporal convolution"},
		{"BP032", "dilated_conv", 0.5, 4, spans{"dilation": {1, 8}}, "Dilated convolution stack"},
		{"BP033", "deformable_conv", 0.5, 4, spans{"offset_groups": {1, 4}}, "Deformable convolution"},
		{"BP034", "non_local_block", 0.5, 4, spans{"window": {4, 16}}, "Non-local attention block"},
		{"BP035", "learned_positional", 0.5, 4, spans{"frequency": {0.1, 1}}, "Learned positional encoding"},
	}
}

// experimentalTemplates need an approval.
func experimentalTemplates() []template {
	return []template{
		{"BP036", "mixture_of_experts_4", 0.7, 5, spans{"experts": {4, 8}, "capacity": {1, 2}},
			"Mixture-of-Experts block (4 experts)"},
		{"BP037", "hierarchical_attention", 0.7, 5, spans{"levels": {2, 4}}, "Hierarchical attention module"},
		{"BP038", "memory_augmented", 0.8, 5, spans{"memory_slots": {32, 128}}, "Memory-augmented block"},
		{"BP039", "neural_ode_block", 0.8, 5, spans{"steps": {1, 10}}, "Neural ODE integration block"},
		{"BP040", "differentiable_nas", 0.8, 5, spans{"temperature": {0.5, 2}}, "Differentiable NAS head"},
		{"BP041", "meta_learning_layer", 0.8, 5, spans{"adapt_steps": {1, 5}}, "Meta-learning adaptation layer"},
		{"BP042", "recursive_processing", 0.8, 5, spans{"depth": {2, 6}}, "Recursive processing block"},
	}
}

// highRiskTemplates are adversarial: they need a quarantine.
func highRiskTemplates() []template {
	return []template{
		{"BP043", "exploding_gradient", 0.9, 6, spans{"scale": {5, 20}}, "Exploding gradient stressor"},
		{"BP044", "vanishing_gradient", 0.9, 6, spans{"decay": {0, 0.1}}, "Vanishing gradient stressor"},
		{"BP045", "nan_injection", 1, 6, spans{"frequency": {0.01, 0.1}}, "NaN injection adversarial template"},
		{"BP046", "infinite_loop", 1, 6, spans{"iterations": {1000, 10000}}, "Infinite loop adversarial template"},
		{"BP047", "memory_leak", 1, 6, spans{"growth_rate": {1, 5}}, "Memory leak simulation"},
		{"BP048", "deadlock_pattern", 1, 6, spans{"threads": {2, 16}}, "Deadlock pattern stressor"},
		{"BP049", "race_condition", 0.9, 6, spans{"window_ns": {10, 1000}}, "Race condition adversarial template"},
		{"BP050", "adversarial_noise", 0.9, 6, spans{"epsilon": {0.1, 1}}, "Adversarial noise injection"},
	}
}

// descriptors builds the whole catalogue in registration order, BP001 first.
func descriptors() []*leyline.BlueprintDescriptor {
	var all []*leyline.BlueprintDescriptor
	for _, t := range safeTemplates() {
		all = append(all, t.descriptor(leyline.BlueprintTier_BLUEPRINT_TIER_SAFE))
	}
	for _, t := range experimentalTemplates() {
		all = append(all, t.descriptor(leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL))
	}
	for _, t := range highRiskTemplates() {
		all = append(all, t.descriptor(leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK))
	}
	return all
}

// descriptor is the wire form of t at the given tier.
func (t template) descriptor(tier leyline.BlueprintTier) *leyline.BlueprintDescriptor {
	d := &leyline.BlueprintDescriptor{
		BlueprintId:      t.id,
		Name:             t.name,
		Tier:             tier,
		Risk:             t.risk,
		Stage:            t.stage,
		ApprovalRequired: tier != leyline.BlueprintTier_BLUEPRINT_TIER_SAFE,
		QuarantineOnly:   tier == leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK,
		Description:      t.description,
	}
	for name, s := range t.spans {
		if d.AllowedParameters == nil {
			d.AllowedParameters = make(map[string]*leyline.BlueprintParameterBounds, len(t.spans))
		}
		d.AllowedParameters[name] = &leyline.BlueprintParameterBounds{MinValue: s.min, MaxValue: s.max}
	}
	return d
}
