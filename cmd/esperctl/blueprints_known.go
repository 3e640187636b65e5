package main

import (
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza"
)

// knownEntry is what the kernel library knows of a blueprint beside its kernels.
type knownEntry struct {
	Judged     *judgedEntry    `json:"bsds,omitempty"`
	Failed     *failedEntry    `json:"bsds_failed,omitempty"`
	Benchmarks []measuredEntry `json:"benchmarks,omitempty"`
	Tried      int             `json:"seeds_tried"`
	Kept       int             `json:"seeds_kept"`
	Gain       float64         `json:"mean_gain"`
}

type judgedEntry struct {
	Risk           float32   `json:"risk_score"`
	Hazard         string    `json:"hazard_band"`
	Handling       string    `json:"handling_class"`
	Profile        string    `json:"resource_profile"`
	Provenance     string    `json:"provenance"`
	Recommendation string    `json:"recommendation,omitempty"`
	IssuedAt       time.Time `json:"issued_at"`
}

type failedEntry struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

type measuredEntry struct {
	Device  string  `json:"device"`
	Profile string  `json:"profile"`
	P50     float32 `json:"p50_latency_ms"`
	P95     float32 `json:"p95_latency_ms"`
	Rate    float32 `json:"throughput_samples_per_s"`
}

func newKnownEntry(known urza.Evidence) *knownEntry {
	e := &knownEntry{Tried: known.Outcomes.Tried, Kept: known.Outcomes.Kept, Gain: known.Outcomes.MeanGain()}
	if b := known.BSDS; b != nil {
		e.Judged = &judgedEntry{
			Risk:           b.GetRiskScore(),
			Hazard:         lowered(b.GetHazardBand().String(), "HAZARD_BAND_"),
			Handling:       lowered(b.GetHandlingClass().String(), "HANDLING_CLASS_"),
			Profile:        lowered(b.GetResourceProfile().String(), "RESOURCE_PROFILE_"),
			Provenance:     lowered(b.GetProvenance().String(), "PROVENANCE_"),
			Recommendation: b.GetRecommendation(),
			IssuedAt:       b.GetIssuedAt().AsTime(),
		}
	}
	if known.Failed != nil {
		e.Failed = &failedEntry{known.Failed.Reason, known.Failed.At}
	}
	for _, benchmark := range known.Benchmarks {
		e.Benchmarks = append(e.Benchmarks, measuredEntries(benchmark)...)
	}
	return e
}

func measuredEntries(benchmark *leyline.BlueprintBenchmark) (entries []measuredEntry) {
	for _, p := range benchmark.GetProfiles() {
		entries = append(entries, measuredEntry{
			benchmark.GetDevice(), p.GetName(), p.GetP50LatencyMs(), p.GetP95LatencyMs(), p.GetThroughputSamplesPerS(),
		})
	}
	return entries
}

func lowered(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

// print adds a row for each thing that is known.
func (e *knownEntry) print(row func(label, format string, values ...any)) {
	if e == nil {
		return
	}
	if j := e.Judged; j != nil {
		row("judged", "risk %g, hazard %s, handling %s, resources %s, by %s at %s",
			j.Risk, j.Hazard, j.Handling, j.Profile, j.Provenance, j.IssuedAt.Format(time.RFC3339))
		if j.Recommendation != "" {
			row("", "%s", printable(j.Recommendation))
		}
	}
	if e.Failed != nil {
		row("not judged", "%s, at %s", printable(e.Failed.Reason), e.Failed.At.Format(time.RFC3339))
	}
	for _, m := range e.Benchmarks {
		row("measured", "%s, %s: p50 %g ms, p95 %g ms, %g samples/s", printable(m.Device), printable(m.Profile), m.P50, m.P95, m.Rate)
	}
	if e.Tried > 0 {
		row("seeds", "%d kept of %d, mean gain %.1f %%", e.Kept, e.Tried, 100*e.Gain)
	}
}
