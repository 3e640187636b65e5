// Command engine says what the service makes of kernels, for the tests in Python.
//
//	engine forge DIR    writes every kernel that the forge makes, with noise on its weights
//	engine run DIR      runs every kernel of a folder forwards and backwards
//	engine judge DIR    says of every file of a folder why it is refused
//	engine same DIR     compares the weights of A.onnx and A.exported, bit by bit
//
// Each file is DIR/NAME.onnx; numbers are little-endian float32 in DIR/NAME.PART.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

const examples = 3

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command, folder string) error {
	switch command {
	case "forge":
		return forge(context.Background(), folder)
	case "run":
		return eachFile(folder, runFile)
	case "judge":
		return judge(folder)
	case "same":
		return eachFile(folder, compareFile)
	}
	return fmt.Errorf("no command %q", command)
}

// forge writes the kernels of every blueprint, in each form of slot, at the middle and
// at both ends of its parameters.
func forge(ctx context.Context, folder string) error {
	descriptors := karn.NewCatalog().List()
	var ids []string
	for _, d := range descriptors {
		ids = append(ids, d.GetBlueprintId())
	}
	rng := rand.New(rand.NewPCG(3, 5))
	for form, slot := range []tezzeret.Slot{{Features: 32}, {Sequence: 12, Width: 32}, {Channels: 8, Height: 8, Width: 8}} {
		compiler := tezzeret.NewCompiler(tezzeret.Config{Slot: slot, Approved: ids, Quarantine: ids})
		for _, d := range descriptors {
			for v, parameters := range variants(d) {
				compiled, err := compiler.CompileConservative(ctx, d, parameters)
				if _, refused := errors.AsType[*tezzeret.NotCompilableError](err); refused {
					continue // the slot has no such network
				}
				if err != nil {
					return err
				}
				name := filepath.Join(folder, fmt.Sprintf("%s-%d-%d", d.GetBlueprintId(), form, v))
				if err := writeForged(name, compiled.Artifact, rng); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func variants(d *leyline.BlueprintDescriptor) []map[string]float64 {
	low, high := make(map[string]float64), make(map[string]float64)
	for name, bounds := range d.GetAllowedParameters() {
		low[name], high[name] = bounds.GetMinValue(), bounds.GetMaxValue()
	}
	return []map[string]float64{tezzeret.Midpoints(d), low, high}
}

// writeForged writes a kernel as it is forged, and one with noise on its weights, so
// that no branch is too weak to be seen.
func writeForged(name string, file []byte, rng *rand.Rand) error {
	k, err := kernel.Load(file)
	if err != nil {
		return err
	}
	instance := k.Instantiate()
	for _, p := range instance.Parameters() {
		for i := range p.Value.Data {
			p.Value.Data[i] += 0.2 * float32(rng.NormFloat64())
		}
	}
	moved, err := instance.Bytes()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(name+".forged", file, 0o600), os.WriteFile(name+".onnx", moved, 0o600))
}

func eachFile(folder string, do func(name string, k *kernel.Kernel) error) error {
	paths, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		k, err := load(path)
		if err != nil {
			return err
		}
		if err := do(strings.TrimSuffix(path, ".onnx"), k); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func load(path string) (*kernel.Kernel, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k, err := kernel.Load(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// runFile runs a kernel in evaluation mode and, where it is not random, in training
// mode. The loss is the sum of the output, each element weighed by NAME.weights.
func runFile(name string, k *kernel.Kernel) error {
	rng := rand.New(rand.NewPCG(7, 7))
	input, output := k.Input().Shape, k.Output().Shape
	input[0], output[0] = examples, examples
	x, weights := normal(rng, input), normal(rng, output)
	told := map[string]any{
		"input": input, "output": output, "multiply_adds": k.MultiplyAdds(), "operators": k.Operators(),
	}
	if err := errors.Join(write(name+".host", x.Data), write(name+".weights", weights.Data)); err != nil {
		return err
	}
	modes := []string{"evaluation"}
	if !slices.Contains(k.Operators(), "Dropout") {
		modes = append(modes, "training")
	}
	for _, mode := range modes {
		if err := runMode(name+"."+mode, k, mode == "training", x, weights, told); err != nil {
			return err
		}
	}
	told["modes"] = modes
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	return os.WriteFile(name+".json", text, 0o600)
}

func runMode(name string, k *kernel.Kernel, training bool, x, weights *kernel.Tensor, told map[string]any) error {
	instance, tape := k.Instantiate(), kernel.NewTape()
	if training {
		tape.Train(rand.New(rand.NewPCG(1, 1)))
	}
	host := tape.Input(x)
	seed, err := instance.Forward(tape, host)
	if err != nil {
		return err
	}
	weighed, err := tape.Mul(seed, tape.Constant(weights))
	if err != nil {
		return err
	}
	loss, err := tape.ReduceSum(weighed, false)
	if err != nil {
		return err
	}
	if err := tape.Backward(loss); err != nil {
		return err
	}
	problems := []error{write(name+".seed", seed.Tensor().Data), write(name+".host", host.Grad().Data)}
	parameters, statistics := []string{}, []string{}
	for i, p := range instance.Parameters() {
		parameters = append(parameters, p.Name)
		problems = append(problems, write(fmt.Sprintf("%s.parameter%d", name, i), p.Grad.Data))
	}
	for i, p := range instance.Statistics() {
		statistics = append(statistics, p.Name)
		problems = append(problems, write(fmt.Sprintf("%s.statistic%d", name, i), p.Value.Data))
	}
	told["parameters"], told["statistics"] = parameters, statistics
	return errors.Join(problems...)
}

func normal(rng *rand.Rand, shape []int) *kernel.Tensor {
	x := kernel.NewTensor(shape...)
	for i := range x.Data {
		x.Data[i] = float32(rng.NormFloat64())
	}
	return x
}

func write(path string, data []float32) error {
	b := make([]byte, 0, 4*len(data))
	for _, v := range data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return os.WriteFile(path, b, 0o600)
}

// judge prints for each file why it is refused, nothing when it is not.
func judge(folder string) error {
	paths, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
	if err != nil {
		return err
	}
	verdicts := make(map[string]string)
	for _, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		verdicts[name] = ""
		if _, err := kernel.Load(file); err != nil {
			verdicts[name] = err.Error()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

func compareFile(name string, k *kernel.Kernel) error {
	exported, err := load(name + ".exported")
	if err != nil {
		return err
	}
	a, b := k.Instantiate(), exported.Instantiate()
	ours := slices.Concat(a.Parameters(), a.Statistics())
	theirs := slices.Concat(b.Parameters(), b.Statistics())
	return errors.Join(compare(ours, theirs), compareMetadata(k, exported))
}

func compareMetadata(a, b *kernel.Kernel) error {
	for _, key := range []string{"blueprint_id", "blueprint_name", "parameters", "architecture", "reference", "frozen"} {
		ours, _ := a.Metadata(key)
		if theirs, _ := b.Metadata(key); ours != theirs {
			return fmt.Errorf("metadata %s is %q, was %q", key, theirs, ours)
		}
	}
	return nil
}

func compare(ours, theirs []*kernel.Parameter) error {
	if len(ours) != len(theirs) {
		return fmt.Errorf("%d weights, were %d", len(theirs), len(ours))
	}
	for i, p := range ours {
		q := theirs[i]
		if p.Name != q.Name || !slices.Equal(p.Value.Shape, q.Value.Shape) {
			return fmt.Errorf("%s %v was %s %v", q.Name, q.Value.Shape, p.Name, p.Value.Shape)
		}
		for j, v := range p.Value.Data {
			if math.Float32bits(v) != math.Float32bits(q.Value.Data[j]) {
				return fmt.Errorf("%s differs at %d", p.Name, j)
			}
		}
	}
	return nil
}
