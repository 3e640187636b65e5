package demo

import (
	"math"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/tolaria"
)

// report is what the demo came to: the object that --json prints. Accuracies are
// those on the test set, 0 to 1, means over the repeats; their spreads are
// standard deviations.
type report struct {
	HostAccuracy   float64 `json:"host_accuracy"` // at rest, before its first seed
	GrownAccuracy  float64 `json:"grown_accuracy"`
	LongerAccuracy float64 `json:"host_longer_accuracy"` // the same host, trained for as many steps as the grown one
	LargerAccuracy float64 `json:"host_larger_accuracy"` // a host of the grown size, for as many steps from the start

	HostSpread   float64 `json:"host_accuracy_spread"`
	GrownSpread  float64 `json:"grown_accuracy_spread"`
	LongerSpread float64 `json:"host_longer_accuracy_spread"`
	LargerSpread float64 `json:"host_larger_accuracy_spread"`

	HostParameters   int `json:"host_parameters"`
	GrownParameters  int `json:"grown_parameters"` // mean, as that of the larger host
	LargerParameters int `json:"larger_parameters"`
	Repeats          int `json:"repeats"`

	HostGradientMax float64         `json:"host_gradient_max"`
	HostUnchanged   bool            `json:"host_unchanged"`
	Seeds           []seedReport    `json:"seeds"`
	Runs            []networkReport `json:"runs"`
	Prefetch        prefetchReport  `json:"prefetch"`
	KernelsCompiled int             `json:"kernels_compiled"`
	KernelsRefused  int             `json:"kernels_refused"`
	Epochs          int             `json:"epochs"`
	DurationS       float64         `json:"duration_s"`

	first *tolaria.Result
}

// seedReport is one seed's life.
type seedReport struct {
	RunID       string             `json:"run_id"`
	SeedID      string             `json:"seed_id"`
	BlueprintID string             `json:"blueprint_id"`
	Stages      []string           `json:"stages"`
	LastGate    string             `json:"last_gate"`
	Reason      string             `json:"reason"`
	Measured    map[string]float64 `json:"measured,omitempty"`
}

// networkReport is one repeat.
type networkReport struct {
	RunID            string  `json:"run_id"`
	HostAccuracy     float64 `json:"host_accuracy"`
	GrownAccuracy    float64 `json:"grown_accuracy"`
	LongerAccuracy   float64 `json:"host_longer_accuracy"`
	LargerAccuracy   float64 `json:"host_larger_accuracy"`
	GrownParameters  int     `json:"grown_parameters"`
	LargerParameters int     `json:"larger_parameters"`
	Kept             int     `json:"seeds_kept"`
	Dropped          int     `json:"seeds_dropped"`
	Epochs           int     `json:"epochs"`
	Steps            int     `json:"steps"`
}

// prefetchReport counts the kernel requests that the library answered. The
// latencies are from request to ready, as a client on the bus sees them.
type prefetchReport struct {
	Requests int     `json:"requests"`
	Ready    int     `json:"ready"`
	Errors   int     `json:"errors"`
	P50Ms    float64 `json:"p50_ms"`
	P99Ms    float64 `json:"p99_ms"`
}

func (d *demo) report(outcomes []*outcome) *report {
	forged := d.service.ForgeResult()
	answers := d.service.PrefetchStats()
	ready, failed := int(answers.Hits), int(answers.Misses+answers.Errors)
	r := &report{
		Repeats: len(outcomes), HostUnchanged: true, first: outcomes[0].result,
		Seeds: []seedReport{},
		Prefetch: prefetchReport{
			Requests: ready + failed, Ready: ready, Errors: failed,
			P50Ms: quantile(d.prefetch, 0.50), P99Ms: quantile(d.prefetch, 0.99),
		},
		KernelsCompiled: len(forged.Compiled),
		KernelsRefused:  len(forged.Refused),
	}
	for _, o := range outcomes {
		r.add(o)
	}
	r.summarize()
	return r
}

func (r *report) add(o *outcome) {
	result := o.result
	r.HostGradientMax = max(r.HostGradientMax, result.HostGradientMax)
	r.HostUnchanged = r.HostUnchanged && result.HostUnchanged
	r.HostParameters = result.HostParameters
	r.Epochs += len(result.Epochs)
	r.Runs = append(r.Runs, networkReport{
		RunID: result.RunID, HostAccuracy: result.HostAccuracy, GrownAccuracy: result.GrownAccuracy,
		LongerAccuracy: o.longer.Accuracy, LargerAccuracy: o.larger.Accuracy,
		GrownParameters: result.GrownParameters, LargerParameters: o.larger.Parameters,
		Kept: result.Kept, Dropped: result.Dropped, Epochs: len(result.Epochs), Steps: len(result.Rates),
	})
	for _, seed := range o.seeds {
		r.Seeds = append(r.Seeds, seedReport{
			RunID: result.RunID, SeedID: seed.id, BlueprintID: seed.blueprint, Stages: seed.stages,
			LastGate: seed.gate, Reason: seed.why(), Measured: seed.measured,
		})
	}
}

// why is the last gate's reason; a gate that was passed has none of its own.
func (l *life) why() string {
	switch {
	case l.reason != "":
		return l.reason
	case l.kept():
		return "earned its place"
	case l.dropped():
		return "dropped"
	default:
		return "undecided at the end"
	}
}

func (r *report) summarize() {
	r.HostAccuracy, r.HostSpread = r.over(func(n networkReport) float64 { return n.HostAccuracy })
	r.GrownAccuracy, r.GrownSpread = r.over(func(n networkReport) float64 { return n.GrownAccuracy })
	r.LongerAccuracy, r.LongerSpread = r.over(func(n networkReport) float64 { return n.LongerAccuracy })
	r.LargerAccuracy, r.LargerSpread = r.over(func(n networkReport) float64 { return n.LargerAccuracy })
	grown, _ := r.over(func(n networkReport) float64 { return float64(n.GrownParameters) })
	larger, _ := r.over(func(n networkReport) float64 { return float64(n.LargerParameters) })
	r.GrownParameters, r.LargerParameters = int(math.Round(grown)), int(math.Round(larger))
}

// over is the mean of a figure over the repeats, and its standard deviation.
func (r *report) over(of func(networkReport) float64) (mean, spread float64) {
	n := float64(len(r.Runs))
	for _, run := range r.Runs {
		mean += of(run) / n
	}
	if n < 2 {
		return mean, 0
	}
	for _, run := range r.Runs {
		spread += (of(run) - mean) * (of(run) - mean) / (n - 1)
	}
	return mean, math.Sqrt(spread)
}

// finish prints the report and writes the curve.
func (d *demo) finish(report *report) error {
	report.DurationS = time.Since(d.begun).Seconds()
	if err := d.curve.write(drawCurve(report)); err != nil {
		return err
	}
	if !d.options.json {
		d.screen.summary(report)
		return d.screen.Failure()
	}
	return terminal.JSON(d.out, report)
}

// quantile is the nearest-rank quantile in milliseconds, 0 without samples.
func quantile(samples []time.Duration, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	rank := min(int(q*float64(len(sorted))), len(sorted)-1)
	return sorted[rank].Seconds() * 1e3
}
