package tezzeret_test

import (
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// compilable is every blueprint, safe or experimental, in catalogue order.
func compilable() []*leyline.BlueprintDescriptor {
	return slices.Concat(safe(), experiments())
}

func safe() []*leyline.BlueprintDescriptor {
	return []*leyline.BlueprintDescriptor{
		blueprint("BP001", "identity_passthrough"),
		blueprint("BP002", "linear_projection", "scale", 0.5, 2.0),
		blueprint("BP003", "layer_norm_basic", "epsilon", 1e-06, 0.001),
		blueprint("BP004", "dropout_light", "dropout", 0.0, 0.4),
		blueprint("BP005", "relu_activation"),
		blueprint("BP006", "batch_norm_1d", "momentum", 0.5, 0.99),
		blueprint("BP007", "pooling_max", "kernel", 2.0, 5.0),
		blueprint("BP008", "skip_connection"),
		blueprint("BP009", "residual_block", "depth", 1.0, 4.0),
		blueprint("BP010", "concat_fusion", "branches", 2.0, 4.0),
		blueprint("BP011", "gelu_activation"),
		blueprint("BP012", "layer_scaling", "scale", 0.8, 1.2),
		blueprint("BP013", "grouped_conv", "groups", 2.0, 8.0),
		blueprint("BP014", "highway_gate", "gate_bias", -3.0, 3.0),
		blueprint("BP015", "depthwise_separable", "kernel", 3.0, 7.0),
		blueprint("BP016", "squeeze_excitation", "reduction", 4.0, 16.0),
		blueprint("BP017", "channel_attention", "heads", 1.0, 4.0),
		blueprint("BP018", "spatial_attention", "radius", 1.0, 3.0),
		blueprint("BP019", "cross_attention", "heads", 2.0, 4.0),
		blueprint("BP020", "attention_single_head", "sequence_length", 16.0, 256.0),
		blueprint("BP021", "feedforward_gated", "hidden_multiple", 2.0, 6.0),
		blueprint("BP022", "multi_head_attention_4", "heads", 4.0, 6.0),
		blueprint("BP023", "transformer_block", "layers", 1.0, 6.0),
		blueprint("BP024", "conv_transformer", "kernel", 3.0, 11.0),
		blueprint("BP025", "dynamic_conv", "experts", 2.0, 8.0),
		blueprint("BP026", "adaptive_pooling", "output_size", 4.0, 16.0),
		blueprint("BP027", "feature_pyramid", "levels", 3.0, 5.0),
		blueprint("BP028", "dense_connection", "growth_rate", 8.0, 48.0),
		blueprint("BP029", "multi_head_attention_8", "heads", 8.0, 10.0),
		blueprint("BP030", "graph_attention", "hops", 1.0, 3.0),
		blueprint("BP031", "temporal_conv", "dilation", 1.0, 5.0),
		blueprint("BP032", "dilated_conv", "dilation", 1.0, 8.0),
		blueprint("BP033", "deformable_conv", "offset_groups", 1.0, 4.0),
		blueprint("BP034", "non_local_block", "window", 4.0, 16.0),
		blueprint("BP035", "learned_positional", "frequency", 0.1, 1.0),
	}
}

func experiments() []*leyline.BlueprintDescriptor {
	return []*leyline.BlueprintDescriptor{
		experimental(blueprint("BP036", "mixture_of_experts_4", "experts", 4.0, 8.0, "capacity", 1.0, 2.0)),
		experimental(blueprint("BP037", "hierarchical_attention", "levels", 2.0, 4.0)),
		experimental(blueprint("BP038", "memory_augmented", "memory_slots", 32.0, 128.0)),
		experimental(blueprint("BP039", "neural_ode_block", "steps", 1.0, 10.0)),
		experimental(blueprint("BP040", "differentiable_nas", "temperature", 0.5, 2.0)),
		experimental(blueprint("BP041", "meta_learning_layer", "adapt_steps", 1.0, 5.0)),
		experimental(blueprint("BP042", "recursive_processing", "depth", 2.0, 6.0)),
	}
}

// stressors is the adversarial tier, as far as a kernel can be one.
func stressors() []*leyline.BlueprintDescriptor {
	return []*leyline.BlueprintDescriptor{
		adversarial(blueprint("BP043", "exploding_gradient", "scale", 5.0, 20.0)),
		adversarial(blueprint("BP044", "vanishing_gradient", "decay", 0.0, 0.1)),
		adversarial(blueprint("BP045", "nan_injection", "frequency", 0.01, 0.1)),
		adversarial(blueprint("BP046", "infinite_loop", "iterations", 1000.0, 10000.0)),
		adversarial(blueprint("BP047", "memory_leak", "growth_rate", 1.0, 5.0)),
		adversarial(blueprint("BP050", "adversarial_noise", "epsilon", 0.1, 1.0)),
	}
}

// approvedCompiler builds for feature vectors of the given width.
func approvedCompiler(features int) *tezzeret.Compiler {
	return slotCompiler(tezzeret.Slot{Features: features})
}

// slotCompiler builds for a slot, experimental blueprints and stressors too.
func slotCompiler(slot tezzeret.Slot) *tezzeret.Compiler {
	return tezzeret.NewCompiler(tezzeret.Config{
		Slot:       slot,
		Approved:   []string{"BP036", "BP037", "BP038", "BP039", "BP040", "BP041", "BP042"},
		Quarantine: []string{"BP043", "BP044", "BP045", "BP046", "BP047", "BP048", "BP049", "BP050"},
	})
}
