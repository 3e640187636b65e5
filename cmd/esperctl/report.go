package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/tolaria"
)

// report is what the demo came to: the object that --json prints.
type report struct {
	HostAccuracy    float64        `json:"host_accuracy"`
	GrownAccuracy   float64        `json:"grown_accuracy"`
	HostGradientMax float64        `json:"host_gradient_max"`
	HostUnchanged   bool           `json:"host_unchanged"`
	Seeds           []seedReport   `json:"seeds"`
	Prefetch        prefetchReport `json:"prefetch"`
	KernelsCompiled int            `json:"kernels_compiled"`
	KernelsRefused  int            `json:"kernels_refused"`
	Epochs          int            `json:"epochs"`
	DurationS       float64        `json:"duration_s"`

	result *tolaria.Result
}

// seedReport is one seed's life.
type seedReport struct {
	SeedID      string   `json:"seed_id"`
	BlueprintID string   `json:"blueprint_id"`
	Stages      []string `json:"stages"`
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

func (d *demo) report(result *tolaria.Result, latencies []time.Duration) *report {
	forged := d.service.ForgeResult()
	answers := d.service.PrefetchMetrics()
	ready := int(answers["hits"])
	failed := int(answers["misses"] + answers["errors"])
	return &report{
		HostAccuracy:    result.HostAccuracy,
		GrownAccuracy:   result.GrownAccuracy,
		HostGradientMax: result.HostGradientMax,
		HostUnchanged:   result.HostUnchanged,
		Seeds:           d.client.seeds(),
		Prefetch: prefetchReport{
			Requests: ready + failed, Ready: ready, Errors: failed,
			P50Ms: quantile(latencies, 0.50), P99Ms: quantile(latencies, 0.99),
		},
		KernelsCompiled: len(forged.Compiled),
		KernelsRefused:  len(forged.Refused),
		Epochs:          len(result.Epochs),
		result:          result,
	}
}

// finish prints the report and writes the curve.
func (d *demo) finish(report *report) error {
	report.DurationS = time.Since(d.begun).Seconds()
	if d.options.curve != "" {
		if err := os.WriteFile(d.options.curve, drawCurve(report), 0o644); err != nil { //nolint:gosec // a picture for everybody
			return fmt.Errorf("write curve: %w", err)
		}
	}
	if !d.options.json {
		d.screen.summary(report)
		return nil
	}
	encoder := json.NewEncoder(d.screen.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
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
