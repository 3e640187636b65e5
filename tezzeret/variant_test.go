package tezzeret_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// R7 and R10: parameters never reached a kernel, and there was one slot.
func TestR10GivenParametersOverrideTheMidpoints(t *testing.T) {
	d := blueprint("BP036", "mixture_of_experts_4", "capacity", 1.0, 2.0, "experts", 4.0, 8.0)
	compiler := approvedCompiler(32)
	for _, c := range []struct {
		name  string
		given map[string]float64
		want  map[string]float64
	}{
		{"none", nil, map[string]float64{"capacity": 1.5, "experts": 6}},
		{"one", map[string]float64{"experts": 4}, map[string]float64{"capacity": 1.5, "experts": 4}},
		{"both", map[string]float64{"capacity": 2, "experts": 8}, map[string]float64{"capacity": 2, "experts": 8}},
	} {
		compiled, err := compiler.CompileVariant(t.Context(), d, []int{12, 16}, c.given)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		whole, err := slotCompiler(tezzeret.Slot{Sequence: 12, Width: 16}).Compile(t.Context(), d, c.want)
		if err != nil || !bytes.Equal(compiled.Artifact, whole.Artifact) {
			t.Errorf("%s: not the kernel that Compile makes, %v", c.name, err)
		}
		if compiled.Parameters["capacity"] != c.want["capacity"] || compiled.Parameters["experts"] != c.want["experts"] {
			t.Errorf("%s: parameters %v, want %v", c.name, compiled.Parameters, c.want)
		}
		digest, err := compiler.VariantDigest(d, []int{12, 16}, c.given)
		if err != nil || digest != compiled.BuildDigest {
			t.Errorf("%s: digest %s, %v", c.name, digest, err)
		}
	}
}

func TestVariantOfNoSizesIsForTheOwnSlot(t *testing.T) {
	own, err := approvedCompiler(48).CompileVariant(t.Context(), find(t, "residual_block"), nil, nil)
	if err != nil || own.Slot != (tezzeret.Slot{Features: 48}) {
		t.Errorf("slot %v, %v", own.Slot, err)
	}
}

func TestRefusedVariants(t *testing.T) {
	compiler := tezzeret.NewCompiler(tezzeret.Config{})
	for _, c := range []struct {
		name       string
		descriptor *leyline.BlueprintDescriptor
		sizes      []int
		given      map[string]float64
		forbidden  bool // a permission is missing
		parameters bool
	}{
		{"undeclared parameter", find(t, "linear_projection"), nil, map[string]float64{"depth": 1}, false, true},
		{"too large", find(t, "linear_projection"), nil, map[string]float64{"scale": 2.1}, false, true},
		{"too small", find(t, "linear_projection"), nil, map[string]float64{"scale": 0.4}, false, true},
		{"not a number", find(t, "linear_projection"), nil, map[string]float64{"scale": math.NaN()}, false, true},
		{"infinite", find(t, "linear_projection"), nil, map[string]float64{"scale": math.Inf(1)}, false, true},
		{"four dimensions", find(t, "linear_projection"), []int{2, 2, 2, 2}, nil, false, false},
		{"size of zero", find(t, "linear_projection"), []int{0}, nil, false, false},
		{"no time axis", find(t, "temporal_conv"), []int{3, 8, 8}, nil, false, false},
		{"more weights than a file holds", find(t, "linear_projection"), []int{1 << 20}, nil, false, false},
		{"more values than a row holds", find(t, "relu_activation"), []int{1 << 12, 1 << 12}, nil, false, false},
		{"approval required", approvalOf(find(t, "linear_projection")), []int{7}, nil, true, false},
	} {
		_, err := compiler.CompileVariant(t.Context(), c.descriptor, c.sizes, c.given)
		if errors.Is(err, tezzeret.ErrParameters) != c.parameters {
			t.Errorf("%s: %v", c.name, err)
		}
		refused, is := errors.AsType[*tezzeret.NotCompilableError](err)
		if is == c.parameters || is && refused.Forbidden != c.forbidden {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := compiler.CompileVariant(cancelled, find(t, "relu_activation"), []int{7}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func approvalOf(d *leyline.BlueprintDescriptor) *leyline.BlueprintDescriptor {
	d.ApprovalRequired = true
	return d
}

// A command carries parameters as float32: the bound 0.4 arrives as 0.4000000059604645.
func TestBoundThatCameThroughAFloat32IsTheBound(t *testing.T) {
	d := blueprint("BP004", "dropout_light", "dropout", 0.1, 0.4)
	for _, bound := range []float64{0.1, 0.4} {
		params, err := tezzeret.Complete(d, map[string]float64{"dropout": float64(float32(bound))})
		if err != nil || params["dropout"] != bound {
			t.Errorf("%v: %v, %v", bound, params, err)
		}
	}
	if _, err := tezzeret.Complete(d, map[string]float64{"dropout": 0.40001}); !errors.Is(err, tezzeret.ErrParameters) {
		t.Error(err)
	}
	zero := blueprint("BP004", "dropout_light", "dropout", 0.0, 0.4)
	params, err := tezzeret.Complete(zero, map[string]float64{"dropout": math.Copysign(0, -1)})
	if err != nil || math.Signbit(params["dropout"]) {
		t.Errorf("%v, %v: the same number must give the same kernel", params, err)
	}
}

func TestEqualRequestsGiveEqualKernels(t *testing.T) {
	compiler, others := approvedCompiler(32), slotCompiler(tezzeret.Slot{Sequence: 3, Width: 5})
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom(compilable()).Draw(t, "blueprint")
		sizes := rapid.SliceOfN(rapid.IntRange(1, 12), 1, 3).Draw(t, "sizes")
		given := map[string]float64{}
		for name, bounds := range d.GetAllowedParameters() {
			if rapid.Bool().Draw(t, "given "+name) {
				given[name] = rapid.Float64Range(bounds.GetMinValue(), bounds.GetMaxValue()).Draw(t, name)
			}
		}
		one, err := compiler.CompileVariant(context.Background(), d, sizes, given)
		two, again := others.CompileVariant(context.Background(), d, sizes, given)
		if (err == nil) != (again == nil) {
			t.Fatal(err, again)
		}
		if err != nil {
			if _, refused := errors.AsType[*tezzeret.NotCompilableError](err); !refused {
				t.Fatal(err)
			}
			return
		}
		if one.Checksum != two.Checksum || one.BuildDigest != two.BuildDigest || !slices.Equal(one.Slot.Shape(), sizes) {
			t.Fatalf("%s in %v with %v: %s and %s", d.GetName(), sizes, given, one.Checksum, two.Checksum)
		}
	})
}

// A slot comes from outside. None may take the memory of the service.
func TestNoSlotTakesMoreMemoryThanAKernelMay(t *testing.T) {
	for _, sizes := range [][]int{
		{1 << 20}, {1 << 16}, {4096}, {1 << 20, 4}, {4, 1 << 20}, {2048, 2048}, {1 << 20, 1 << 20},
		{1, 2048, 2048}, {1 << 20, 2, 2}, {1 << 20, 1 << 20, 1 << 20}, {4096, 32, 32}, {512, 768},
	} {
		slot, err := tezzeret.NewSlot(sizes...)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range slices.Concat(compilable(), stressors()) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := slotCompiler(slot).Survey(t.Context(), []*leyline.BlueprintDescriptor{d})
			runtime.ReadMemStats(&after)
			// The weights, the file, the kernel read back from it, and values of one row.
			if taken := (after.TotalAlloc - before.TotalAlloc) >> 20; err != nil || taken > 256 {
				t.Errorf("%s in %s takes %d MiB, %v", d.GetName(), slot, taken, err)
			}
		}
	}
}

func TestSurveyTellsWhatCompileWouldDo(t *testing.T) {
	for _, slot := range slots() {
		compiler := slotCompiler(slot)
		found, err := compiler.Survey(t.Context(), compilable())
		if err != nil {
			t.Fatal(err)
		}
		var want []tezzeret.Candidate
		for _, d := range compilable() {
			if compiled, err := compiler.CompileConservative(t.Context(), d, nil); err == nil {
				want = append(want, tezzeret.Candidate{
					BlueprintID: d.GetBlueprintId(), ParameterCount: compiled.ParameterCount, MultiplyAdds: compiled.MultiplyAdds,
				})
			}
		}
		if !slices.Equal(found, want) {
			t.Errorf("%s: %v, want %v", slot, found, want)
		}
	}
	// Nobody permits the experimental ones here.
	found, err := tezzeret.NewCompiler(tezzeret.Config{}).Survey(t.Context(), karn.NewCatalog().List())
	if err != nil || len(found) != 35 {
		t.Errorf("%d candidates, %v", len(found), err)
	}
}

// BenchmarkSurvey tells what can be compiled for a slot that was never seen.
func BenchmarkSurvey(b *testing.B) {
	for _, sizes := range [][]int{{32}, {512}, {12, 32}, {128, 256}, {64, 7, 7}, {64, 56, 56}, {256, 14, 14}} {
		slot, err := tezzeret.NewSlot(sizes...)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(slot), func(b *testing.B) {
			compiler := tezzeret.NewCompiler(tezzeret.Config{Slot: slot})
			blueprints := karn.NewCatalog().List()
			started := time.Now()
			for b.Loop() {
				if _, err := compiler.Survey(b.Context(), blueprints); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(time.Since(started).Milliseconds())/float64(b.N), "survey_ms")
		})
	}
}
