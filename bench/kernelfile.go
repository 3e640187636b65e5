package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
)

// forwardRuns are timed one by one for their median, as many as the script of
// the oracle times.
const forwardRuns = 31

func kernelFileRows() []row {
	return []row{
		{"kernel_load_1mb_ms", "ms", lower, nil},
		{"kernel_forward_784_128_784_ms", "ms", lower, nil},
		{"kernel_compile_42_s", "s", lower, nil},
	}
}

// measureKernelFile loads, runs and compiles kernels.
func measureKernelFile(ctx context.Context, b *bench) error {
	for _, part := range []struct {
		row     string
		measure func(context.Context) error
	}{
		{"kernel_load_1mb_ms", b.measureLoad},
		{"kernel_forward_784_128_784_ms", b.measureForward},
		{"kernel_compile_42_s", b.measureCompile},
	} {
		if !b.table.wants(part.row) {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.row, err)
		}
	}
	return nil
}

// measureLoad reads a gated network of 1 MB.
func (b *bench) measureLoad(context.Context) error {
	file, err := gatedNetwork(32, 2730)
	if err != nil {
		return err
	}
	load := func() error {
		_, err := kernel.Load(file)
		return err
	}
	loads := b.pick(100, 10)
	return b.interleave([]turn{{ours, func(column string) error {
		begun := time.Now()
		for range loads {
			if err := load(); err != nil {
				return err
			}
		}
		b.table.sample("kernel_load_1mb_ms", column, milliseconds(time.Since(begun))/float64(loads))
		return nil
	}}}, load)
}

func gatedNetwork(features, hidden int) ([]byte, error) {
	rng := rand.New(rand.NewPCG(1, 1))
	b := kernel.NewBuilder("gated", features)
	b.Init("up", randomTensor(rng, features, hidden))
	b.Init("gate", randomTensor(rng, features, hidden))
	b.Init("gate_bias", randomTensor(rng, hidden))
	b.Init("down", randomTensor(rng, hidden, features))
	b.Node("MatMul", []string{"host", "up"}, "u")
	b.Node("Gemm", []string{"host", "gate", "gate_bias"}, "g")
	b.Node("Sigmoid", []string{"g"}, "s")
	b.Node("Mul", []string{"u", "s"}, "h")
	b.Node("MatMul", []string{"h", "down"}, "d")
	b.Node("Add", []string{"host", "d"}, "seed")
	return b.Bytes()
}

// measureForward runs a kernel forward beside ONNX Runtime, where that is
// installed. A kernel keeps the shape of its slot, so the network is 784 wide at
// both ends.
func (b *bench) measureForward(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(1, 1))
	file, err := denseNetwork(rng, 784, 128)
	if err != nil {
		return err
	}
	input := randomTensor(rng, batchRows, 784)
	forward, err := newForward(file, input)
	if err != nil {
		return err
	}
	const row = "kernel_forward_784_128_784_ms"
	take := func(measure func() (float64, error)) func(string) error {
		return func(column string) error {
			took, err := measure()
			b.table.sample(row, column, took)
			return err
		}
	}
	turns := []turn{{ours, take(forward)}}
	runtime, err := b.findONNXRuntime(ctx)
	switch {
	case errors.Is(err, errNotAtHand):
		b.table.miss(row, onnxPeer, err.Error())
	case err != nil:
		return err
	default:
		if err := runtime.prepare(file, input); err != nil {
			return err
		}
		turns = append(turns, turn{onnxPeer, take(func() (float64, error) { return runtime.forward(ctx) })})
	}
	return b.interleave(turns, func() error {
		_, err := forward()
		return err
	})
}

func denseNetwork(rng *rand.Rand, features, hidden int) ([]byte, error) {
	b := kernel.NewBuilder("dense", features)
	b.Init("down", randomTensor(rng, features, hidden))
	b.Init("hidden", randomTensor(rng, hidden))
	b.Init("up", randomTensor(rng, hidden, features))
	b.Init("bias", randomTensor(rng, features))
	b.Node("Gemm", []string{"host", "down", "hidden"}, "d")
	b.Node("Relu", []string{"d"}, "r")
	b.Node("Gemm", []string{"r", "up", "bias"}, "seed")
	return b.Bytes()
}

// newForward returns the median time of a forward pass, in milliseconds.
func newForward(file []byte, input *kernel.Tensor) (func() (float64, error), error) {
	loaded, err := kernel.Load(file)
	if err != nil {
		return nil, err
	}
	instance, tape := loaded.Instantiate(), kernel.NewTape()
	return func() (float64, error) {
		took := make([]float64, forwardRuns)
		for i := range took {
			tape.Reset()
			begun := time.Now()
			if _, err := instance.Forward(tape, tape.Constant(input)); err != nil {
				return 0, err
			}
			took[i] = milliseconds(time.Since(begun))
		}
		return quantile(took, 0.5), nil
	}, nil
}
