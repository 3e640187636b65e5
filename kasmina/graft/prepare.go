package graft

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// hotKernels is how many loaded kernels the fetcher remembers: the next seed of
// the same blueprint needs no file.
const hotKernels = 8

// prepared is a kernel that was tried and may be attached.
type prepared struct {
	slot     *Slot
	instance *kernel.Instance
}

// fetch prepares the kernels of attach orders, one after the other.
func (g *Graft) fetch(ctx context.Context) {
	var hot hotList
	for {
		wanted, ok := g.inbox.nextWanted(ctx)
		if !ok {
			return
		}
		ready, err := g.prepareInTime(ctx, wanted, &hot)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wanted.err = err
		} else {
			wanted.kernel = ready
		}
		if !g.inbox.queue(wanted) {
			g.drop(wanted.order, DropBacklog, nil)
		}
		g.inbox.fetched(wanted.order.Number)
	}
}

func (g *Graft) prepareInTime(ctx context.Context, wanted arrival, hot *hotList) (*prepared, *AttachError) {
	limit := g.fetcher.timeout
	if wanted.order.Deadline > 0 {
		limit = min(limit, wanted.order.Deadline-time.Since(wanted.read))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return g.prepare(ctx, &wanted.order, hot)
}

// prepare makes an instance of the kernel of an attach order, when it is what
// was announced and fits its slot. It runs in the background.
func (g *Graft) prepare(ctx context.Context, order *trainer.Order, hot *hotList) (*prepared, *AttachError) {
	fail := func(failure trainer.AttachFailure, err error) (*prepared, *AttachError) {
		return nil, &AttachError{Seed: order.Seed, Failure: failure, Err: err}
	}
	slot := g.slot(order.Slot)
	if slot == nil {
		return fail(trainer.AttachNoRoom, fmt.Errorf("no slot %q", order.Slot))
	}
	if err := order.Blend.Fits(slot.shape); err != nil {
		return fail(trainer.AttachBlend, fmt.Errorf("%w: %w", ErrBlend, err))
	}
	loaded, failure, err := g.load(ctx, order.Kernel, hot)
	if err != nil {
		return fail(failure, err)
	}
	if err := slot.shape.misfit(loaded); err != nil {
		return fail(trainer.AttachMisfit, err)
	}
	if err := slot.try(loaded, order); err != nil {
		if errors.Is(err, ErrBlend) {
			return fail(trainer.AttachBlend, err)
		}
		return fail(trainer.AttachFaulty, err)
	}
	return &prepared{slot: slot, instance: loaded.Instantiate()}, nil
}

func (g *Graft) load(ctx context.Context, k trainer.Kernel, hot *hotList) (*kernel.Kernel, trainer.AttachFailure, error) {
	if loaded := hot.find(k.Checksum); loaded != nil {
		return loaded, 0, nil
	}
	content, failure, err := g.fetcher.content(ctx, k)
	if err != nil {
		return nil, failure, err
	}
	loaded, err := kernel.Load(content)
	if err != nil {
		return nil, trainer.AttachInvalid, err
	}
	hot.keep(loaded)
	return loaded, 0, nil
}

// hotList holds the kernels loaded last, the latest at the end.
type hotList struct{ kernels []*kernel.Kernel }

func (h *hotList) find(checksum string) *kernel.Kernel {
	for _, k := range h.kernels {
		if k.Checksum() == checksum {
			return k
		}
	}
	return nil
}

func (h *hotList) keep(k *kernel.Kernel) {
	if len(h.kernels) == hotKernels {
		h.kernels = append(h.kernels[:0], h.kernels[1:]...)
	}
	h.kernels = append(h.kernels, k)
}

// tried is how many examples a kernel is tried on.
const tried = 2

// try runs a kernel and its blend forward and backward on two examples, outside of
// training mode and in it, so that a seed that cannot run, or could not learn, never
// joins.
func (s *Slot) try(k *kernel.Kernel, order *trainer.Order) error {
	rng := rand.New(rand.NewPCG(1, 2)) // always the same examples
	examples := kernel.NewTensor(s.shape.batched(tried)...)
	for i := range examples.Data {
		examples.Data[i] = float32(rng.NormFloat64())
	}
	trial := &seed{instance: k.Instantiate(), blend: order.Blend, slot: s}
	tape := kernel.NewTape()
	for _, noise := range []*rand.Rand{nil, rng} {
		tape.Reset()
		tape.Train(noise)
		host := tape.Constant(examples)
		out, err := trial.instance.Forward(tape, host)
		if err != nil {
			return fmt.Errorf("try the kernel: %w", err)
		}
		if !finite(out.Tensor().Data) {
			return errors.New("try the kernel: its output is not finite")
		}
		joined, err := trial.join(tape, 0.5, host, out)
		if err != nil {
			return fmt.Errorf("try the blend: %w", err)
		}
		if !finite(joined.Tensor().Data) {
			return errors.New("try the blend: its output is not finite")
		}
		if err := trial.tryBackward(tape, joined); err != nil {
			return fmt.Errorf("try the kernel: %w", err)
		}
	}
	return nil
}

// tryBackward looks for gradients that no optimizer could follow.
func (s *seed) tryBackward(tape *kernel.Tape, joined kernel.Value) error {
	sum, err := tape.ReduceSum(joined, false)
	if err == nil {
		err = tape.Backward(sum)
	}
	if err != nil {
		return err
	}
	for _, parameter := range s.instance.Parameters() {
		if parameter.Grad != nil && !finite(parameter.Grad.Data) {
			return fmt.Errorf("the gradient of %s is not finite", parameter.Name)
		}
	}
	return nil
}
