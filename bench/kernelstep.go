package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
)

// batchRows is the mini-batch of the training step.
const batchRows = 64

func kernelRows() []row {
	return []row{{"kernel_step_784_128_10_ms", "ms", lower, nil}}
}

// classifier is the reference trainer's host: 784-128-10 with relu.
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

// measureKernelStep trains on one core what the reference trainer trains.
func measureKernelStep(ctx context.Context, b *bench) error {
	c := newClassifier()
	steps := b.pick(200, 20)
	return b.interleave([]turn{{ours, func(column string) error {
		begun := time.Now()
		for range steps {
			if err := errors.Join(ctx.Err(), c.step()); err != nil {
				return err
			}
		}
		b.table.sample("kernel_step_784_128_10_ms", column, milliseconds(time.Since(begun))/float64(steps))
		return nil
	}}}, c.step)
}
