package kasmina

import (
	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/telemetry"
)

// The labels of what is told of a seed, and of a run.
const (
	ofSeed = "{seed_id,training_run_id}"
	ofRun  = "{training_run_id}"
)

// PacketSeries are the points of packets about runs and seeds, by the names that they have
// where packets are shown.
func PacketSeries() []telemetry.Series {
	return telemetry.Declared(seedFigures("", new(seed), new(evidence.Figures)), runFigures(new(Record), nil, nil))
}

// seedFigures are those of one seed.
func seedFigures(run string, s *seed, last *evidence.Figures) []telemetry.Figure {
	of := []string{s.ID, run}
	gradient := func(name, unit, meaning string, told evidence.Figure) telemetry.Figure {
		return telemetry.Measure(name, unit, meaning, told, of...).If(told.Finite())
	}
	return []telemetry.Figure{
		telemetry.Measure("kasmina.seed.stage"+ofSeed, "state",
			"Stage of the seed: 1 dormant, 2 germinated, 3 training, 4 blending, 5 shadowing, 6 probationary, 7 fossilized, "+
				"8 culled, 9 embargoed, 10 resetting, 11 terminated.", s.Stage, of...),
		telemetry.Measure("kasmina.seed.alpha"+ofSeed, "ratio",
			"Share of the seed in the output that it is blended into.", s.share(), of...),
		telemetry.Measure("kasmina.seed.kernel_attached"+ofSeed, "flag",
			"1 while the seed's kernel is attached to the host.", flag(s.Listed), of...),
		telemetry.Measure("kasmina.seed.isolation_violations"+ofSeed, "count",
			"Reports in which the seed touched what is not its own, until two clean ones in a row forgive them.",
			s.Isolation.Failures, of...),
		measured("kasmina.seed.kernel_latency_ms"+ofSeed,
			"Time from the request for the seed's kernel to its answer. Absent before.", s.Kernel.LatencyMS, of...),
		measured("kasmina.seed.last_kernel_latency_ms"+ofSeed, "The same, by its other name.", s.Kernel.LatencyMS, of...),
		telemetry.Measure("kasmina.seed.alpha_steps"+ofSeed, "count",
			"Steps of the blending so far. Absent in other stages.", s.AlphaSteps, of...).If(s.Stage == lifecycle.Blending),
		gradient("kasmina.seed.isolation.dot"+ofSeed, "dot",
			"Cosine of the gradients of host and seed by the activations that they share. "+
				"Absent when its trainer does not measure it.", last.Cosine),
		gradient("kasmina.seed.isolation.host_norm"+ofSeed, "grad",
			"Largest gradient that reached the host through the seed. Absent when its trainer does not measure it.", last.HostGradient),
		gradient("kasmina.seed.isolation.seed_norm"+ofSeed, "grad",
			"Norm of the gradient over the seed's parameters. Absent when its trainer does not measure it.", last.GradientNorm),
	}
}

// runFigures are a run's own, which each of its packets carries, with what this one measured.
func runFigures(r *Record, warmMS, backMS *float64) []telemetry.Figure {
	run := r.Run
	var waiting, attached float32
	var fetchMS *float64
	for _, s := range r.Seeds {
		waiting += flag(s.Wait != nil)
		attached += flag(s.Listed)
		if s.Kernel.LatencyMS != nil {
			fetchMS = s.Kernel.LatencyMS
		}
	}
	return []telemetry.Figure{
		telemetry.Measure("kasmina.seeds.active"+ofRun, "count", "Seeds of the packet's run, embargoed ones too.", len(r.Seeds), run),
		telemetry.Count("kasmina.isolation.violations"+ofRun,
			"Reports of the run in which a seed touched what is not its own.", r.Violations, run),
		telemetry.Measure("kasmina.nonce_ledger.size"+ofRun, "count",
			"Ids of commands that the run remembers to refuse repetitions.", len(r.Commands), run),
		telemetry.Measure("kasmina.prefetch.inflight"+ofRun, "count", "Seeds of the run that wait for their kernel.", waiting, run),
		telemetry.Measure("kasmina.breaker.state"+ofRun, "state",
			"Circuit of the run's kernel requests: 1 closed, 2 open, 3 half-open. While it is open no seed germinates.",
			r.Breaker.state(), run),
		telemetry.Measure("kasmina.breaker.failures"+ofRun, "count",
			"Requests that failed since one went well with the circuit closed.", r.Breaker.Failures, run),
		telemetry.Measure("kasmina.cache.kernel_size"+ofRun, "count", "Seeds of the run whose kernel is attached.", attached, run),
		measured("kasmina.kernel.fetch_latency_ms"+ofRun,
			"Time from request to answer of the youngest seed that has a kernel. Absent without one.", fetchMS, run),
		measured("kasmina.prewarm.latency_ms"+ofRun,
			"Median forward pass of a kernel, as the library announced it. Absent in packets that announce none.", warmMS, run),
		measured("kasmina.rollback.latency_ms"+ofRun,
			"Time from the order to remove a seed until its trainer no longer listed it. Absent in other packets.", backMS, run),
	}
}
