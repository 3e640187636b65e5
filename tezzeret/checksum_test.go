package tezzeret_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/tezzeret"
)

var update = flag.Bool("update", false, "rewrite the golden checksums")

const goldenChecksums = "testdata/checksums.golden"

// TestChecksumsAreThoseOfTheLastRelease holds the bytes of every kernel fixed:
// a change here changes the library of everybody. Regenerate with -update.
func TestChecksumsAreThoseOfTheLastRelease(t *testing.T) {
	var table strings.Builder
	for _, features := range []int{32, 64} {
		for _, d := range compilable() {
			c, err := approvedCompiler(features).Compile(t.Context(), d, nil)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&table, "%d %s %s %d %s\n", features, d.GetBlueprintId(), d.GetName(), c.ParameterCount, c.Checksum)
		}
	}
	if *update {
		if err := os.WriteFile(goldenChecksums, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(goldenChecksums)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(golden), "\n"), strings.Split(table.String(), "\n")); diff != "" {
		t.Errorf("kernels changed (-golden +now):\n%s", diff)
	}
}

func TestTwoCompilationsOfOneBlueprintAreTheSameBytes(t *testing.T) {
	for _, d := range compilable() {
		first, second := compile(t, d, nil), compile(t, d, nil)
		if first.Checksum != second.Checksum {
			t.Errorf("%s: %s, then %s", d.GetName(), first.Checksum, second.Checksum)
		}
	}
}

func TestNoTwoBlueprintsAreTheSameNetwork(t *testing.T) {
	seen := make(map[string]string)
	for _, d := range compilable() {
		c := compile(t, d, nil)
		// What the graph consists of, without the names and texts in the file.
		structure := ""
		for _, layer := range c.GraphMetadata["layers"].([]map[string]any) {
			structure += fmt.Sprintf("%v(%v->%v,%v) ", layer["type"], layer["input_channels"],
				layer["output_channels"], layer["parameter_count"])
		}
		for _, key := range []string{"checksum " + c.Checksum, "structure " + structure} {
			if other, dup := seen[key]; dup {
				t.Errorf("%s and %s share the %s", d.GetName(), other, key)
			}
			seen[key] = d.GetName()
		}
	}
}

func TestParametersAndSlotDecideTheChecksum(t *testing.T) {
	d := find(t, "linear_projection")
	seen := make(map[string]string)
	for _, features := range []int{16, 32} {
		for _, scale := range []float64{0.5, 1, 1.25} {
			c, err := approvedCompiler(features).Compile(t.Context(), d, map[string]float64{"scale": scale})
			if err != nil {
				t.Fatal(err)
			}
			request := fmt.Sprint(features, scale)
			if other, dup := seen[c.Checksum]; dup {
				t.Errorf("%s and %s give the same kernel", request, other)
			}
			seen[c.Checksum] = request
		}
	}
}

func TestEqualRequestsGiveEqualChecksums(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := rapid.SampledFrom(compilable()).Draw(rt, "blueprint")
		features := rapid.IntRange(1, 48).Draw(rt, "features")
		params := tezzeret.Midpoints(d)
		for name, bounds := range d.GetAllowedParameters() {
			params[name] = rapid.Float64Range(bounds.GetMinValue(), bounds.GetMaxValue()).Draw(rt, name)
		}
		first, err := approvedCompiler(features).Compile(t.Context(), d, params)
		if d.GetName() == "feature_pyramid" && features < 16 {
			return // refused when the pyramid is too high
		}
		if err != nil {
			rt.Fatal(err)
		}
		second, err := approvedCompiler(features).CompileConservative(t.Context(), d, params)
		if err != nil {
			rt.Fatal(err)
		}
		if first.Checksum != second.Checksum {
			rt.Fatalf("%s %v: %s, then %s", d.GetName(), params, first.Checksum, second.Checksum)
		}
	})
}
