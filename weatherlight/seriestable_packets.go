package weatherlight

// packetSeries are the metric points that travel in packets of their own and are
// not on /metrics. Their names are those that Nissa shows, without its label source.
func packetSeries() []seriesRow {
	return []seriesRow{
		{"weatherlight_emergency_level", "", kindGauge, "count",
			"Level of the emergency that the packet tells of: 1 notice, 2 elevated, 3 conservative, 4 halt."},
		{"weatherlight_emergency_latency_ms", "", kindGauge, "ms",
			"Time from raising that emergency until it was seen. Absent when the signal had no time."},
		{"weatherlight_rollback_deadline_latency_ms", "", kindGauge, "ms",
			"Time from raising the rollback signal until it was seen."},
		{"kasmina_seed_stage", "seed_id", kindGauge, "state",
			"Stage of the seed: 1 dormant, 2 germinated, 3 training, 4 blending, 5 shadowing, 6 probationary, 7 fossilized, " +
				"8 culled, 9 embargoed, 10 resetting, 11 terminated."},
		{"kasmina_seed_alpha", "seed_id", kindGauge, "ratio", "Share of the seed in the output that it is blended into."},
		{"kasmina_seed_alpha_steps", "seed_id", kindGauge, "count", "Steps of the blending so far. Absent in other stages."},
		{"kasmina_seed_kernel_attached", "seed_id", kindGauge, "flag", "1 while the seed's kernel is attached to the host."},
		{"kasmina_seed_kernel_latency_ms", "seed_id", kindGauge, "ms",
			"Time from the request until the seed's kernel was read; 0 before."},
		{"kasmina_seed_last_kernel_latency_ms", "seed_id", kindGauge, "ms", "The same, by its other name."},
		{"kasmina_seed_isolation_violations", "seed_id", kindGauge, "count",
			"Epochs in which a gradient of the seed reached the host."},
		{"kasmina_seed_fallback_used", "seed_id", kindGauge, "flag",
			"Always 0: no seed runs on a stand-in for its kernel. The name is the prototype's."},
		{"tamiyo_validation_loss", "", kindGauge, "loss", "Validation loss that the controller was told of; 0 without a validation."},
		{"tamiyo_loss_delta", "", kindGauge, "loss", "Its change since the validation before; negative is better."},
		{"tamiyo_stalled_epochs", "", kindGauge, "epoch", "Epochs since the loss was last better than ever."},
		{"tamiyo_evaluated_epoch", "", kindGauge, "epoch", "Epoch that the controller judged last."},
		{"tamiyo_conservative_mode", "", kindGauge, "bool", "1 while the controller starts no growth, after something went wrong."},
		{"tamiyo_inference_latency_ms", "", kindGauge, "ms", "Time of the controller's last decision."},
		{"tamiyo_blueprint_risk", "", kindGauge, "score",
			"Risk, 0 to 1, of the blueprint that the decision germinates. Absent when it germinates none."},
	}
}
