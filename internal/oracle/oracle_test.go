//go:build oracle

package oracle

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
)

var report = flag.String("report", "", "file to write the table to")

const (
	tolerance = 1e-5 // of the largest element, or of 1
	examples  = 5
	timedRuns = 31
)

// comparison is one kernel, and what both engines make of it.
type comparison struct {
	name, title, slot string
	file              []byte
	examples          int
	timed             bool
	trainable         bool    // a blueprint that is safe to train
	live              forward // what the file was written of; nil: the file itself

	kernel              *kernel.Kernel
	input, ours, theirs *kernel.Tensor
	oursMs, theirsMs    float64
	difference          float64
	failure             string
}

// request and answer are what run.js reads and writes.
type request struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
	Timed bool   `json:"timed"`
}

type answer struct {
	Name         string  `json:"name"`
	Shape        []int   `json:"shape"`
	Error        string  `json:"error"`
	Milliseconds float64 `json:"milliseconds"`
}

func TestEveryKernelMatchesONNXRuntime(t *testing.T) {
	operators, kernels, timed := operatorKernels(t), blueprintKernels(t), timedKernels(t)
	saved, networks := savedKernels(t, kernels), networkKernels(t)
	all := slices.Concat(operators, kernels, saved, networks, timed)
	for _, c := range all {
		if err := c.run(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
	}
	if left := untried(operators); len(left) > 0 {
		t.Errorf("operators of the profile without a case: %v", left)
	}
	ask(t, all)
	for _, c := range all {
		if c.compare(); c.failure != "" {
			t.Errorf("%s: %s", c.name, c.failure)
		}
	}
	text := table(operators, slices.Concat(kernels, saved, networks), timed)
	if *report != "" {
		if err := os.WriteFile(*report, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// untried are the operators of the profile that no case uses.
func untried(cases []*comparison) []string {
	return slices.DeleteFunc(kernel.Profile(), func(operator string) bool {
		return slices.ContainsFunc(cases, func(c *comparison) bool {
			return slices.Contains(c.kernel.Operators(), operator)
		})
	})
}

// run loads the kernel and runs it, or what it was written of, on a batch of its own.
func (c *comparison) run() (err error) {
	if c.kernel, err = kernel.Load(c.file); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	shape := c.kernel.Input().Shape
	shape[0] = c.examples
	c.input = sample(uint64(len(c.file)), shape...)
	ours, tape := c.live, kernel.NewTape()
	if ours == nil {
		ours = c.kernel.Instantiate().Forward
	}
	runs := 1
	if c.timed {
		runs = timedRuns
	}
	samples := make([]float64, runs)
	for i := range samples {
		tape.Reset()
		start := time.Now()
		y, err := ours(tape, tape.Constant(c.input))
		if err != nil {
			return fmt.Errorf("forward: %w", err)
		}
		samples[i] = float64(time.Since(start)) / float64(time.Millisecond)
		c.ours = y.Tensor().Clone()
	}
	slices.Sort(samples)
	c.oursMs = samples[runs/2]
	return nil
}

// sample is a batch of normal values.
func sample(seed uint64, shape ...int) *kernel.Tensor {
	rng := rand.New(rand.NewPCG(seed, 11))
	x := kernel.NewTensor(shape...)
	for i := range x.Data {
		x.Data[i] = float32(rng.NormFloat64())
	}
	return x
}

// ask runs all kernels in one Node process.
func ask(t *testing.T, all []*comparison) {
	t.Helper()
	folder := t.TempDir()
	var requests []request
	for _, c := range all {
		write(t, filepath.Join(folder, c.name+".onnx"), c.file)
		write(t, filepath.Join(folder, c.name+".input"), littleEndian(c.input.Data))
		requests = append(requests, request{Name: c.name, Shape: c.input.Shape, Timed: c.timed})
	}
	list, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "cases.json"), list)
	if out, err := exec.CommandContext(t.Context(), "node", "run.js", folder).CombinedOutput(); err != nil {
		t.Fatalf("node run.js (make oracle installs what it needs): %v\n%s", err, out)
	}
	var answers []answer
	if err := json.Unmarshal(read(t, filepath.Join(folder, "answers.json")), &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(all) {
		t.Fatalf("%d answers to %d kernels", len(answers), len(all))
	}
	for i, c := range all {
		if c.failure = answers[i].Error; c.failure == "" {
			data := floats(read(t, filepath.Join(folder, c.name+".runtime")))
			c.theirs, c.theirsMs = kernel.FromSlice(data, answers[i].Shape...), answers[i].Milliseconds
		}
	}
}

// compare finds the largest difference, relative to the scale of the output.
func (c *comparison) compare() {
	if c.failure != "" {
		return
	}
	if !slices.Equal(c.ours.Shape, c.theirs.Shape) || len(c.ours.Data) != len(c.theirs.Data) {
		c.failure = fmt.Sprintf("our output is %v, the runtime's %v", c.ours.Shape, c.theirs.Shape)
		return
	}
	scale := 1.0
	for _, v := range c.theirs.Data {
		if a := math.Abs(float64(v)); a > scale && !math.IsInf(a, 0) {
			scale = a
		}
	}
	for i, theirs := range c.theirs.Data {
		ours := c.ours.Data[i]
		if ours == theirs || ours != ours && theirs != theirs { // equal, also as infinities or NaN
			continue
		}
		difference := math.Abs(float64(ours)-float64(theirs)) / scale
		if !(difference <= tolerance) && c.failure == "" {
			c.failure = fmt.Sprintf("element %d is %v, the runtime's is %v", i, ours, theirs)
		}
		c.difference = max(c.difference, difference)
	}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func littleEndian(data []float32) []byte {
	var b []byte
	for _, v := range data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func floats(b []byte) []float32 {
	data := make([]float32, len(b)/4)
	for i := range data {
		data[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return data
}
