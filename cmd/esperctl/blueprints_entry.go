package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
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

func showBlueprint(ctx context.Context, s slotted, id string, asJSON bool, out io.Writer) error {
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
	if asJSON {
		return printJSON(out, e)
	}
	return e.print(s.slot, out)
}

func (e blueprintEntry) print(slot tezzeret.Slot, out io.Writer) error {
	return printTable(out, func(table io.Writer) {
		row := func(label, format string, values ...any) {
			fmt.Fprintf(table, label+"\t"+format+"\n", values...)
		}
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
	})
}
