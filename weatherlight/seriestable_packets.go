package weatherlight

// The labels of what is told of a seed, and of a run.
const (
	ofSeed = "seed_id,training_run_id"
	ofRun  = "training_run_id"
)

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
		{"kasmina_seed_stage", ofSeed, kindGauge, "state",
			"Stage of the seed: 1 dormant, 2 germinated, 3 training, 4 blending, 5 shadowing, 6 probationary, 7 fossilized, " +
				"8 culled, 9 embargoed, 10 resetting, 11 terminated."},
		{"kasmina_seed_alpha", ofSeed, kindGauge, "ratio", "Share of the seed in the output that it is blended into."},
		{"kasmina_seed_alpha_steps", ofSeed, kindGauge, "count", "Steps of the blending so far. Absent in other stages."},
		{"kasmina_seed_kernel_attached", ofSeed, kindGauge, "flag", "1 while the seed's kernel is attached to the host."},
		{"kasmina_seed_kernel_latency_ms", ofSeed, kindGauge, "ms",
			"Time from the request for the seed's kernel to its answer. Absent before."},
		{"kasmina_seed_last_kernel_latency_ms", ofSeed, kindGauge, "ms", "The same, by its other name."},
		{"kasmina_seed_isolation_violations", ofSeed, kindGauge, "count",
			"Reports in a row in which the seed touched what is not its own."},
		{"kasmina_seed_isolation_dot", ofSeed, kindGauge, "dot",
			"Cosine of the gradients of host and seed by the activations that they share. Absent when its trainer does not measure it."},
		{"kasmina_seed_isolation_host_norm", ofSeed, kindGauge, "grad",
			"Largest gradient that reached the host through the seed. Absent when its trainer does not measure it."},
		{"kasmina_seed_isolation_seed_norm", ofSeed, kindGauge, "grad",
			"Norm of the gradient over the seed's parameters. Absent when its trainer does not measure it."},
		{"kasmina_seeds_active", ofRun, kindGauge, "count", "Seeds of the packet's run, embargoed ones too."},
		{"kasmina_isolation_violations", ofRun, kindRising, "count", "Reports of the run in which a seed touched what is not its own."},
		{"kasmina_nonce_ledger_size", ofRun, kindGauge, "count", "Ids of commands that the run remembers to refuse repetitions."},
		{"kasmina_prefetch_inflight", ofRun, kindGauge, "count", "Seeds of the run that wait for their kernel."},
		{"kasmina_breaker_state", ofRun, kindGauge, "state",
			"Circuit of the run's kernel requests: 1 closed, 2 open, 3 half-open. While it is open no seed germinates."},
		{"kasmina_breaker_failures", ofRun, kindGauge, "count", "Requests that failed since one went well with the circuit closed."},
		{"kasmina_cache_kernel_size", ofRun, kindGauge, "count", "Seeds of the run whose kernel is attached."},
		{"kasmina_kernel_fetch_latency_ms", ofRun, kindGauge, "ms",
			"Time from request to answer of the youngest seed that has a kernel. Absent without one."},
		{"kasmina_prewarm_latency_ms", ofRun, kindGauge, "ms",
			"Median forward pass of a kernel, as the library announced it. Absent in packets that announce none."},
		{"kasmina_rollback_latency_ms", ofRun, kindGauge, "ms",
			"Time from the order to remove a seed until its trainer no longer listed it. Absent in other packets."},
		{"tamiyo_validation_loss", ofRun, kindGauge, "loss", "Validation loss that the controller was told of; 0 without a validation."},
		{"tamiyo_loss_delta", ofRun, kindGauge, "loss", "Its change since the validation before; negative is better."},
		{"tamiyo_stalled_epochs", ofRun, kindGauge, "epoch", "Epochs since the loss was last better than ever."},
		{"tamiyo_evaluated_epoch", ofRun, kindGauge, "epoch", "Epoch that the controller judged last."},
		{"tamiyo_conservative_mode", ofRun, kindGauge, "bool", "1 while the controller starts no growth, after something went wrong."},
		{"tamiyo_inference_latency_ms", "", kindGauge, "ms", "Time of the controller's last decision."},
		{"tamiyo_blueprint_risk", ofRun, kindGauge, "score",
			"Risk, 0 to 1, of the blueprint that the decision germinates. Absent when it germinates none."},
	}
}
