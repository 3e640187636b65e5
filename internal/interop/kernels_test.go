package interop_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

const (
	farthest  = 1e-5 // difference of an element, of the largest or of 1
	batchSize = 2
)

// kernelCase is a kernel as the reader in Python takes it, and what ours makes of it.
type kernelCase struct {
	name    string
	output  *kernel.Tensor
	trained []string

	File  []byte    `json:"file"`
	Shape []int     `json:"shape"`
	Input []float32 `json:"input"`
}

// kernelAnswer is what the reader says.
type kernelAnswer struct {
	Shape   []int     `json:"shape"`
	Output  []float64 `json:"output"`
	Trained []string  `json:"trained"`
}

// Another language that reads the files with nothing of ours computes what we
// compute, and finds the same parameters to train (R11).
func TestEverySafeKernelIsImportedByPython(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		slot    tezzeret.Slot
		kernels int
	}{
		{tezzeret.Slot{Features: 32}, 35},
		{tezzeret.Slot{Sequence: 8, Width: 32}, 35},
		{tezzeret.Slot{Channels: 8, Height: 8, Width: 8}, 34}, // one wants a time axis
	} {
		t.Run(tt.slot.String(), func(t *testing.T) {
			t.Parallel()
			cases := safeKernels(t, tt.slot)
			if len(cases) != 2*tt.kernels {
				t.Errorf("%d kernels, want %d as they are forged and as many trained", len(cases), tt.kernels)
			}
			answers := importKernels(t, cases)
			if len(answers) != len(cases) {
				t.Fatalf("%d answers to %d kernels", len(answers), len(cases))
			}
			for i, c := range cases {
				c.compare(t, answers[i])
			}
		})
	}
}

// safeKernels are the kernels that need no approval: as they are forged, and with
// parameters that training has moved, so that no branch is too weak to be seen.
func safeKernels(t *testing.T, slot tezzeret.Slot) []*kernelCase {
	t.Helper()
	compiler := tezzeret.NewCompiler(tezzeret.Config{Slot: slot})
	rng := rand.New(rand.NewPCG(3, 5))
	var cases []*kernelCase
	for _, descriptor := range karn.NewCatalog().ListTier(leyline.BlueprintTier_BLUEPRINT_TIER_SAFE) {
		compiled, err := compiler.Compile(t.Context(), descriptor, nil)
		if _, refused := errors.AsType[*tezzeret.NotCompilableError](err); refused {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		forged := newKernelCase(t, descriptor.GetBlueprintId(), compiled.Artifact, rng)
		trained := newKernelCase(t, forged.name+" trained", moved(t, compiled.Artifact, rng), rng)
		cases = append(cases, forged, trained)
	}
	return cases
}

// moved is a kernel with noise on its parameters.
func moved(t *testing.T, file []byte, rng *rand.Rand) []byte {
	t.Helper()
	instance := load(t, file).Instantiate()
	for _, p := range instance.Parameters() {
		for i := range p.Value.Data {
			p.Value.Data[i] += 0.2 * float32(rng.NormFloat64())
		}
	}
	file, err := instance.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, file []byte) *kernel.Kernel {
	t.Helper()
	k, err := kernel.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKernelCase(t *testing.T, name string, file []byte, rng *rand.Rand) *kernelCase {
	t.Helper()
	k := load(t, file)
	shape := k.Input().Shape
	shape[0] = batchSize
	x := kernel.NewTensor(shape...)
	for i := range x.Data {
		x.Data[i] = float32(rng.NormFloat64())
	}
	instance, tape := k.Instantiate(), kernel.NewTape()
	y, err := instance.Forward(tape, tape.Constant(x))
	if err != nil {
		t.Fatal(err)
	}
	c := &kernelCase{name: name, output: y.Tensor().Clone(), File: file, Shape: shape, Input: x.Data}
	for _, p := range instance.Parameters() {
		c.trained = append(c.trained, p.Name)
	}
	return c
}

// importKernels lets Python read and run the kernels.
func importKernels(t *testing.T, cases []*kernelCase) []kernelAnswer {
	t.Helper()
	var input, complaints bytes.Buffer
	encoder := json.NewEncoder(&input)
	for _, c := range cases {
		if err := encoder.Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	reader := exec.CommandContext(t.Context(), python, "-B", "testdata/kernels.py", profilePage)
	reader.Stdin, reader.Stderr = &input, &complaints
	output, err := reader.Output()
	if err != nil {
		t.Fatalf("apt-get install python3: %v\n%s", err, complaints.String())
	}
	return decodeLines[kernelAnswer](t, output)
}

func (c *kernelCase) compare(t *testing.T, got kernelAnswer) {
	t.Helper()
	inAnyOrder := cmpopts.SortSlices(strings.Compare)
	if diff := cmp.Diff(c.trained, got.Trained, inAnyOrder, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: trained are (-ours +python):\n%s", c.name, diff)
	}
	if !slices.Equal(got.Shape, c.output.Shape) || len(got.Output) != len(c.output.Data) {
		t.Fatalf("%s: shape %v with %d elements, want %v", c.name, got.Shape, len(got.Output), c.output.Shape)
	}
	scale := 1.0
	for _, want := range c.output.Data {
		scale = max(scale, math.Abs(float64(want)))
	}
	for i, want := range c.output.Data {
		if !(math.Abs(got.Output[i]-float64(want)) <= farthest*scale) {
			t.Errorf("%s: element %d is %v, ours %v", c.name, i, got.Output[i], want)
			return
		}
	}
}
