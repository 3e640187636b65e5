package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
)

// batchRows is the mini-batch of the training step.
const batchRows = 64

func kernelRows() []row {
	return []row{
		{"kernel_step_784_128_10_ms", "ms", lower, nil},
		{"kernel_step_conv_8x16x16_ms", "ms", lower, nil},
	}
}

// classifier is a network of two layers, 784-128-10, with relu.
type classifier struct {
	tape       *kernel.Tape
	batch      *kernel.Tensor
	labels     []int
	parameters []*kernel.Parameter
}

func newClassifier() *classifier {
	rng := rand.New(rand.NewPCG(1, 1))
	c := &classifier{tape: kernel.NewTape(), batch: randomTensor(rng, batchRows, 784), labels: make([]int, batchRows)}
	for _, shape := range [][]int{{784, 128}, {128}, {128, 10}, {10}} {
		c.parameters = append(c.parameters, kernel.NewParameter("p", randomTensor(rng, shape...)))
	}
	for i := range c.labels {
		c.labels[i] = i % 10
	}
	return c
}

func randomTensor(rng *rand.Rand, shape ...int) *kernel.Tensor {
	tensor := kernel.NewTensor(shape...)
	for i := range tensor.Data {
		tensor.Data[i] = 0.1 * float32(rng.NormFloat64())
	}
	return tensor
}

// step is one forward and backward pass.
func (c *classifier) step() error {
	c.tape.Reset()
	values := make([]kernel.Value, len(c.parameters))
	for i, p := range c.parameters {
		p.ZeroGrad()
		values[i] = c.tape.Parameter(p)
	}
	hidden, err := c.tape.Gemm(c.tape.Constant(c.batch), values[0], values[1], 1, 1, false, false)
	if err != nil {
		return err
	}
	active, err := c.tape.Relu(hidden)
	if err != nil {
		return err
	}
	logits, err := c.tape.Gemm(active, values[2], values[3], 1, 1, false, false)
	if err != nil {
		return err
	}
	loss, err := c.tape.SoftmaxCrossEntropy(logits, c.labels)
	if err != nil {
		return err
	}
	return c.tape.Backward(loss)
}

// convolution is a kernel for maps: 3x3, eight channels of 16x16.
type convolution struct {
	tape     *kernel.Tape
	batch    *kernel.Tensor
	instance *kernel.Instance
}

func newConvolution() (*convolution, error) {
	rng := rand.New(rand.NewPCG(1, 1))
	b := kernel.NewBuilderFor("conv", 8, 16, 16)
	b.Init("filters", randomTensor(rng, 8, 8, 3, 3))
	b.Node("Conv", []string{"host", "filters"}, "seed", kernel.IntsAttr("pads", 1, 1, 1, 1))
	file, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("build convolution: %w", err)
	}
	loaded, err := kernel.Load(file)
	if err != nil {
		return nil, fmt.Errorf("load convolution: %w", err)
	}
	batch := randomTensor(rng, batchRows, 8, 16, 16)
	return &convolution{kernel.NewTape(), batch, loaded.Instantiate()}, nil
}

// step is one forward and backward pass, down to the input.
func (c *convolution) step() error {
	c.tape.Reset()
	out, err := c.instance.Forward(c.tape, c.tape.Input(c.batch))
	if err != nil {
		return err
	}
	loss, err := c.tape.ReduceMean(out, false)
	if err != nil {
		return err
	}
	return c.tape.Backward(loss)
}

// measureKernelStep trains a network of two layers, and a convolution,
// on all cores and on one.
func measureKernelStep(ctx context.Context, b *bench) error {
	conv, err := newConvolution()
	if err != nil {
		return err
	}
	for _, trained := range []struct {
		row  string
		step func() error
	}{
		{"kernel_step_784_128_10_ms", newClassifier().step},
		{"kernel_step_conv_8x16x16_ms", conv.step},
	} {
		if !b.table.wants(trained.row) {
			continue
		}
		take := func(column string) error { return b.takeSteps(ctx, trained.row, column, trained.step) }
		err := b.interleave([]turn{{ours, take}, {oneCore, func(column string) error {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			return take(column)
		}}}, trained.step)
		if err != nil {
			return fmt.Errorf("%s: %w", trained.row, err)
		}
	}
	return nil
}

// takeSteps samples the mean time of a step.
func (b *bench) takeSteps(ctx context.Context, row, column string, step func() error) error {
	steps := b.pick(100, 10)
	begun := time.Now()
	for range steps {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return err
		}
	}
	b.table.sample(row, column, milliseconds(time.Since(begun))/float64(steps))
	return nil
}
