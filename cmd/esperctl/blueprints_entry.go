package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
)

// blueprintEntry is one blueprint as --json prints it. Compilable speaks of
// the slot and of the grants listed: with them it can be compiled, or Reason
// says why not.
type blueprintEntry struct {
	BlueprintID  string            `json:"blueprint_id"`
	Name         string            `json:"name"`
	Description  string            `json:"description"`
	Tier         string            `json:"tier"`
	Risk         float32           `json:"risk"`
	Stage        uint32            `json:"stage"`
	Grants       []string          `json:"grants_needed"`
	Parameters   []parameterEntry  `json:"parameters"`
	Slot         []int             `json:"slot"`
	Compilable   bool              `json:"compilable"`
	Reason       string            `json:"reason,omitempty"`
	Architecture string            `json:"architecture,omitempty"`
	Reference    string            `json:"reference,omitempty"`
	Views        map[string]string `json:"slots,omitempty"`

	builtEntry             // filled by show
	Known      *knownEntry `json:"known,omitempty"` // likewise
}

// builtEntry is of a kernel compiled with the midpoints.
type builtEntry struct {
	Trainable    int    `json:"trainable_parameters,omitempty"`
	MultiplyAdds int64  `json:"multiply_adds,omitempty"`
	Bytes        int    `json:"bytes,omitempty"`
	Checksum     string `json:"checksum,omitempty"`
}

type parameterEntry struct {
	Name    string  `json:"name"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Default float64 `json:"default"`
}

// Grants that a blueprint can need.
const (
	grantApproval   = "approval"
	grantQuarantine = "quarantine"
)

func newBlueprintEntry(slot tezzeret.Slot, d *leyline.BlueprintDescriptor) blueprintEntry {
	e := blueprintEntry{
		BlueprintID: d.GetBlueprintId(),
		Name:        d.GetName(),
		Description: d.GetDescription(),
		Tier:        strings.ToLower(strings.TrimPrefix(d.GetTier().String(), "BLUEPRINT_TIER_")),
		Risk:        d.GetRisk(),
		Stage:       d.GetStage(),
		Grants:      grantsFor(d),
		Parameters:  parameterEntries(d),
		Slot:        slot.Shape(),
		Compilable:  true,
	}
	if design, err := tezzeret.DesignOf(d); err == nil {
		e.Architecture, e.Reference, e.Views = design.Formula, design.Reference, make(map[string]string)
		for kind, view := range design.Views {
			e.Views[string(kind)] = view
		}
	}
	if err := grantedCompiler(slot, d).Compilable(d); err != nil {
		e.Compilable, e.Reason = false, reasonOf(err)
	}
	return e
}

// grantedCompiler may compile one blueprint whatever grant it needs; nothing
// that it makes is stored.
func grantedCompiler(slot tezzeret.Slot, d *leyline.BlueprintDescriptor) *tezzeret.Compiler {
	return tezzeret.NewCompiler(tezzeret.Config{Slot: slot, Quarantine: []string{d.GetBlueprintId()}})
}

func grantsFor(d *leyline.BlueprintDescriptor) []string {
	switch {
	case d.GetQuarantineOnly():
		return []string{grantQuarantine}
	case d.GetApprovalRequired():
		return []string{grantApproval}
	default:
		return []string{}
	}
}

func parameterEntries(d *leyline.BlueprintDescriptor) []parameterEntry {
	entries := []parameterEntry{}
	middle := tezzeret.Midpoints(d)
	for _, name := range slices.Sorted(maps.Keys(middle)) {
		bounds := d.GetAllowedParameters()[name]
		entries = append(entries, parameterEntry{name, bounds.GetMinValue(), bounds.GetMaxValue(), middle[name]})
	}
	return entries
}

// reasonOf leaves out the blueprint's name, which stands beside it.
func reasonOf(err error) string {
	if refused, ok := errors.AsType[*tezzeret.NotCompilableError](err); ok {
		return refused.Reason
	}
	return err.Error()
}

func (e blueprintEntry) needs() string {
	if len(e.Grants) == 0 {
		return "nothing"
	}
	return strings.Join(e.Grants, ", ")
}

func (e blueprintEntry) verdict() string {
	if e.Compilable {
		return e.Architecture
	}
	return "not compilable: " + e.Reason
}

func showBlueprint(ctx context.Context, s slotted, id string, format *terminal.Format, out io.Writer) error {
	d, err := s.catalog.Get(strings.ToUpper(id))
	if err != nil {
		return err
	}
	e := newBlueprintEntry(s.slot, d)
	if e.Compilable {
		compiled, err := grantedCompiler(s.slot, d).CompileConservative(ctx, d, nil)
		if err != nil {
			return err
		}
		e.Trainable, e.MultiplyAdds = compiled.ParameterCount, compiled.MultiplyAdds
		e.Bytes, e.Checksum = len(compiled.Artifact), compiled.Checksum
	}
	if s.evidence != nil {
		known, err := s.evidence(ctx, d.GetBlueprintId())
		if err != nil {
			return err
		}
		e.Known = newKnownEntry(known)
	}
	return format.Print(out, e, func(table io.Writer) { e.describe(s.slot, table) })
}

func (e blueprintEntry) describe(slot tezzeret.Slot, table io.Writer) {
	row := func(label, format string, values ...any) { terminal.Line(table, label, format, values...) }
	row("blueprint", "%s %s: %s", e.BlueprintID, e.Name, e.Description)
	row("tier", "%s, risk %g, stage %d", e.Tier, e.Risk, e.Stage)
	row("needs", "%s", e.needs())
	for _, p := range e.Parameters {
		row("parameter", "%s %g to %g, %g unless asked", p.Name, p.Min, p.Max, p.Default)
	}
	row("for "+slot.String(), "%s", e.verdict())
	for _, kind := range tezzeret.Kinds() {
		if view, ok := e.Views[string(kind)]; ok {
			row("slot", "%s as %s", kind, view)
		}
	}
	if e.Compilable {
		row("reference", "%s", e.Reference)
		row("costs", "%d trainable parameters, %d multiply-adds, %d bytes", e.Trainable, e.MultiplyAdds, e.Bytes)
		row("checksum", "%s", e.Checksum)
	}
	e.Known.print(row)
}

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
			row("", "%s", j.Recommendation)
		}
	}
	if e.Failed != nil {
		row("not judged", "%s, at %s", e.Failed.Reason, e.Failed.At.Format(time.RFC3339))
	}
	for _, m := range e.Benchmarks {
		row("measured", "%s, %s: p50 %g ms, p95 %g ms, %g samples/s", m.Device, m.Profile, m.P50, m.P95, m.Rate)
	}
	if e.Tried > 0 {
		row("seeds", "%d kept of %d, mean gain %.1f %%", e.Kept, e.Tried, 100*e.Gain)
	}
}
