package interop_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// profilePage holds the kernel profile.
const profilePage = "../../docs/trainers.md"

// profileCase is a kernel as the peer is told of it.
type profileCase struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Shape []int  `json:"shape"`

	file []byte
}

// profiledKernel is what the peer makes of a kernel.
type profiledKernel struct {
	Name       string
	Problem    string
	Operators  []string
	Metadata   []string
	Parameters map[string]profiledTensor
	Statistics map[string]profiledTensor
}

type profiledTensor struct {
	Shape []int
	Data  []byte
}

// forged are the kernels of every blueprint of the catalogue that has one, in each
// form of slot, at the middle and at both ends of its parameters.
func forged(t *testing.T) (cases []profileCase) {
	t.Helper()
	descriptors := karn.NewCatalog().List()
	var ids []string
	for _, d := range descriptors {
		ids = append(ids, d.GetBlueprintId())
	}
	for _, slot := range []tezzeret.Slot{{Features: 32}, {Sequence: 12, Width: 32}, {Channels: 8, Height: 16, Width: 16}} {
		compiler := tezzeret.NewCompiler(tezzeret.Config{Slot: slot, Approved: ids, Quarantine: ids})
		for _, d := range descriptors {
			for _, parameters := range variants(d) {
				compiled, err := compiler.CompileConservative(t.Context(), d, parameters)
				if _, refused := errors.AsType[*tezzeret.NotCompilableError](err); refused {
					continue // the slot has no such network
				}
				name := fmt.Sprintf("%s %s %v", d.GetBlueprintId(), slot, parameters)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				cases = append(cases, profileCase{Name: name, Shape: slot.Shape(), file: compiled.Artifact})
			}
		}
	}
	return cases
}

// variants are the middle and both ends of a blueprint's parameters.
func variants(d *leyline.BlueprintDescriptor) []map[string]float64 {
	low, high := make(map[string]float64), make(map[string]float64)
	for name, bounds := range d.GetAllowedParameters() {
		low[name], high[name] = bounds.GetMinValue(), bounds.GetMaxValue()
	}
	return []map[string]float64{low, tezzeret.Midpoints(d), high}
}

// readByPython lets the peer read kernels by the page alone.
func readByPython(t *testing.T, cases []profileCase) []profiledKernel {
	t.Helper()
	var input bytes.Buffer
	folder, encoder := t.TempDir(), json.NewEncoder(&input)
	for i, c := range cases {
		c.Path = filepath.Join(folder, fmt.Sprintf("%d.onnx", i))
		if err := os.WriteFile(c.Path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := encoder.Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	peer := exec.CommandContext(t.Context(), python, "-B", "testdata/kernel_profile.py", profilePage)
	var complaints bytes.Buffer
	peer.Stdin, peer.Stderr = &input, &complaints
	output, err := peer.Output()
	if err != nil {
		t.Fatalf("apt-get install python3: %v\n%s", err, complaints.String())
	}
	seen := decodeLines[profiledKernel](t, output)
	if len(seen) != len(cases) {
		t.Fatalf("%d answers to %d kernels", len(seen), len(cases))
	}
	return seen
}

// TestPythonReadsEveryForgedKernel: a reader that has the page and no code of ours
// finds nothing outside the profile, and the same parameters and statistics.
func TestPythonReadsEveryForgedKernel(t *testing.T) {
	t.Parallel()
	cases := forged(t)
	operators, keys, blueprints := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for i, seen := range readByPython(t, cases) {
		blueprints[strings.Fields(seen.Name)[0]] = true
		if seen.Problem != "" {
			t.Errorf("%s: %s", seen.Name, seen.Problem)
			continue
		}
		mustHoldTheSame(t, cases[i], seen)
		for _, operator := range seen.Operators {
			operators[operator] = true
		}
		for _, key := range seen.Metadata {
			keys[key] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(operators)), onPage(t, "kernel operators", "yes")); diff != "" {
		t.Errorf("forged operators (-forge +page):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(keys)), onPage(t, "kernel metadata", "(?:always|when there are any)")); diff != "" {
		t.Errorf("forged metadata (-forge +page):\n%s", diff)
	}
	for _, d := range karn.NewCatalog().List() {
		if _, err := tezzeret.DesignOf(d); err == nil && !blueprints[d.GetBlueprintId()] {
			t.Errorf("no kernel of %s was read", d.GetBlueprintId())
		}
	}
}

// mustHoldTheSame compares what the peer reads with what is loaded.
func mustHoldTheSame(t *testing.T, c profileCase, seen profiledKernel) {
	t.Helper()
	loaded, err := kernel.Load(c.file)
	if err != nil {
		t.Fatal(err)
	}
	instance := loaded.Instantiate()
	if diff := cmp.Diff(loaded.Operators(), seen.Operators); diff != "" {
		t.Errorf("%s: operators (-go +python):\n%s", c.Name, diff)
	}
	if diff := cmp.Diff(tensors(instance.Parameters()), seen.Parameters); diff != "" {
		t.Errorf("%s: parameters (-go +python):\n%s", c.Name, diff)
	}
	if diff := cmp.Diff(tensors(instance.Statistics()), seen.Statistics); diff != "" {
		t.Errorf("%s: statistics (-go +python):\n%s", c.Name, diff)
	}
}

func tensors(parameters []*kernel.Parameter) map[string]profiledTensor {
	all := make(map[string]profiledTensor)
	for _, p := range parameters {
		var data []byte
		for _, v := range p.Value.Data {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		all[p.Name] = profiledTensor{Shape: append([]int{}, p.Value.Shape...), Data: data}
	}
	return all
}

// onPage are the names that begin a row of a table, with this in the cell behind, sorted.
func onPage(t *testing.T, name, second string) (names []string) {
	t.Helper()
	page, err := os.ReadFile(profilePage)
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- "+name+": ")
	table, _, _ = strings.Cut(table, "<!-- end of "+name+" -->")
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| "+second+" \\|").FindAllStringSubmatch(table, -1) {
		names = append(names, row[1])
	}
	slices.Sort(names)
	return names
}

// TestPythonSeesWhatIsOutsideTheProfile damages a kernel so that nothing but what
// is looked for changes.
func TestPythonSeesWhatIsOutsideTheProfile(t *testing.T) {
	t.Parallel()
	b := kernel.NewBuilder("name", 4)
	b.Init("weight_0", kernel.NewTensor(4, 4))
	b.Node("MatMul", []string{"host", "weight_0"}, "matmul_0")
	b.Node("Softmax", []string{"matmul_0"}, "seed", kernel.IntAttr("axis", 1))
	for _, key := range []string{"blueprint_id", "parameters", "architecture", "reference"} {
		b.Metadata(key, "")
	}
	b.Metadata("blueprint_name", "name")
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	damages := []struct{ name, from, to, problem string }{
		{"nothing", "", "", ""},
		{"IR version", "\x08\x08\x12", "\x08\x09\x12", "IR version 9"},
		{"operator set", "\x10\x11", "\x10\x12", "operator sets"},
		{"operator", "MatMul", "MatMal", "operator MatMal"},
		{"accepted operator", "Softmax", "Greater", "operator Greater"},
		{"input", "host", "hose", "graph input"},
		{"output", "seed", "sees", "graph output"},
		{"attribute", "axis", "axes", "attribute axes"},
		{"metadata", "reference", "referende", "no metadata reference"},
		{"initializer", "weight_0", "weight_1", "initializer 0 is weight_1"},
		{"order", "matmul_0", "matmul_9", "outputs"},
		{"field", "\x12\x0cweatherlight", "\x1a\x0cweatherlight", "KeyError: 'producer_name'"},
		{"unknown field", "\x12\x0cweatherlight", "\x7a\x0cweatherlight", "ModelProto has field 15"},
	}
	var cases []profileCase
	for _, d := range damages {
		damaged := bytes.ReplaceAll(file, []byte(d.from), []byte(d.to))
		if d.from == "" {
			damaged = file
		}
		cases = append(cases, profileCase{Name: d.name, Shape: []int{4}, file: damaged})
	}
	for i, seen := range readByPython(t, cases) {
		if want := damages[i].problem; (want == "") != (seen.Problem == "") || !strings.Contains(seen.Problem, want) {
			t.Errorf("%s: problem %q, want %q", seen.Name, seen.Problem, want)
		}
	}
}
