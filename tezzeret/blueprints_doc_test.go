package tezzeret_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

const blueprintsPage = "../docs/blueprints.md"

// unkernelled are the blueprints that no grant makes a kernel of.
func unkernelled() []*leyline.BlueprintDescriptor {
	return []*leyline.BlueprintDescriptor{
		adversarial(blueprint("BP048", "deadlock_pattern", "threads", 2.0, 16.0)),
		adversarial(blueprint("BP049", "race_condition", "window_ns", 10.0, 1000.0)),
	}
}

// TestBlueprintsPageIsCurrent holds docs/blueprints.md to the code. Rewrite it
// with -update.
func TestBlueprintsPageIsCurrent(t *testing.T) {
	page := blueprintsIntroduction
	all := slices.Concat(compilable(), stressors(), unkernelled())
	slices.SortFunc(all, func(a, b *leyline.BlueprintDescriptor) int {
		return strings.Compare(a.GetBlueprintId(), b.GetBlueprintId())
	})
	for _, d := range all {
		page += blueprintRow(t, d)
	}
	page += "\n## Multiply-adds in the three example slots\n\n" + costHeader
	for _, d := range all {
		page += costRow(t, d)
	}
	if *update {
		if err := os.WriteFile(blueprintsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(blueprintsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(golden), "\n"), strings.Split(page, "\n")); diff != "" {
		t.Errorf("page differs (-page +now), rewrite it with -update:\n%s", diff)
	}
}

func blueprintRow(t *testing.T, d *leyline.BlueprintDescriptor) string {
	t.Helper()
	design, err := tezzeret.DesignOf(d)
	if err != nil {
		return fmt.Sprintf("| %s | %s | %s | none | – | %s | – | – | – |\n",
			d.GetBlueprintId(), d.GetName(), tier(d), bounds(d))
	}
	c, err := approvedCompiler(32).CompileConservative(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %d | %d | %s |\n",
		d.GetBlueprintId(), d.GetName(), tier(d), views(design), cell(design.Formula), bounds(d),
		c.ParameterCount, c.MultiplyAdds, cell(design.Reference))
}

func tier(d *leyline.BlueprintDescriptor) string {
	return strings.ToLower(strings.TrimPrefix(d.GetTier().String(), "BLUEPRINT_TIER_"))
}

// views lists the slots of a blueprint and what they look like to it.
func views(design tezzeret.Design) string {
	var list []string
	for _, kind := range tezzeret.Kinds() {
		if look, ok := design.Views[kind]; ok {
			list = append(list, fmt.Sprintf("%s as %s", kind, look))
		}
	}
	return strings.Join(list, ", ")
}

func bounds(d *leyline.BlueprintDescriptor) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(d.GetAllowedParameters())) {
		b := d.GetAllowedParameters()[name]
		list = append(list, fmt.Sprintf("%s %v to %v", name, b.GetMinValue(), b.GetMaxValue()))
	}
	if list == nil {
		return "–"
	}
	return strings.Join(list, "; ")
}

// cell keeps a text from ending its cell of the table.
func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

func costRow(t *testing.T, d *leyline.BlueprintDescriptor) string {
	t.Helper()
	row := fmt.Sprintf("| %s | %s |", d.GetBlueprintId(), d.GetName())
	for _, slot := range []tezzeret.Slot{
		{Features: 32}, {Sequence: 12, Width: 32}, {Channels: 8, Height: 16, Width: 16},
	} {
		c, err := slotCompiler(slot).CompileConservative(t.Context(), d, nil)
		if err != nil {
			row += " refused |"
			continue
		}
		row += fmt.Sprintf(" %d / %d |", c.ParameterCount, c.MultiplyAdds)
	}
	return row + "\n"
}

const costHeader = `Trainable parameters / multiply-adds of one example, at the midpoints of the parameters.

| id | name | [N,32] | [N,12,32] | [N,8,16,16] |
| --- | --- | --- | --- | --- |
`

const blueprintsIntroduction = `# Blueprints

Generated from the code: ` + "`go test ./tezzeret -run BlueprintsPage -update`" + `. ` + "`esperctl blueprints show ID`" + ` prints one of them.

A kernel maps a host slot to the same shape. A slot has one of three forms: features ` + "`[N,F]`" + `, a sequence ` + "`[N,T,D]`" + `
or an image ` + "`[N,C,H,W]`" + `. A network looks at a slot through a fixed view, which only rearranges values:

- ` + "`[F]`, `[T,D]`, `[H·W,C]`" + `: rows; the last dimension is mixed, and every position has the same weights.
- ` + "`[T,F/T]`" + `: a feature vector cut into T groups of neighbours, the tokens. T is the smallest divisor of F not below √F; 32
  features are 8 tokens of 4.
- ` + "`[F,1]`" + `: every feature is a position of its own, one value wide.
- ` + "`[1,F]`, `[D,T]`, `[C,H,W]`" + `: channels before positions, as a convolution reads them. A feature vector is a signal of one
  channel, in the order of its features.

A form that is missing from a row is refused by name: an image has no time for a causal convolution. A pyramid refuses a slot
with fewer than 2^(levels-1) positions along an axis; attention refuses more than 512 positions, where it compares all with
all, and a deformable convolution more than 196; and what passes the bounds of a kernel is refused with that bound.

Safe blueprints need no grant. Experimental ones need an approval, high-risk ones a quarantine. The stressors do to numbers
what they are named after, and are bounded: a loop is unrolled (one step for 40 iterations), memory grows 16 times. Deadlock
and race are refused whatever is granted: they mean nothing to a kernel, which is data and runs no code.

Every count is taken at the midpoints of the parameters and for 32 features. Counts of things are rounded half up. Weights
follow from the blueprint, its parameters and the slot alone, so equal requests give equal checksums on every machine. Where
a small last layer or a doubled gate is possible, a network starts near the identity.

| id | name | tier | slots | architecture | parameters | trainable | multiply-adds | reference |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
`
