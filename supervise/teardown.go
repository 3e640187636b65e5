package supervise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// stepGrace is how long a teardown may take to return once its context is done: longer than an interrupted worker
// has, so that its name arrives in the error.
const stepGrace = 2*interruptGrace + interruptGrace/2

// Booted is a process that is up.
type Booted struct {
	steps []Step
	trace []Trace

	once sync.Once
	err  error
}

// Trace is how the boot went, in order.
func (b *Booted) Trace() []Trace {
	if b == nil {
		return nil
	}
	return slices.Clone(b.trace)
}

// Stop takes the steps down in reverse order. Each is bounded by its StopTimeout, and none is skipped because another
// failed, hung or panicked; when ctx ends, the rest are still called, with a context that is done, and given a moment.
// The errors are joined, each with the step's name; a step that ignored its bound is an *[UnstoppedError]. Only the
// first call does anything; the others wait for it and give the same answer. Stop of a nil Booted,
// which is what a failed boot returned, does nothing.
func (b *Booted) Stop(ctx context.Context) error {
	if b == nil {
		return nil
	}
	b.once.Do(func() { b.err = teardown(ctx, b.steps) })
	return b.err
}

func teardown(ctx context.Context, steps []Step) error {
	var failed []error
	for _, step := range slices.Backward(steps) {
		if err := step.stop(ctx); err != nil {
			failed = append(failed, fmt.Errorf("stopping %q: %w", step.Name, err))
		}
	}
	return errors.Join(failed...)
}

// stop runs the step's Stop within ctx and StopTimeout.
func (s Step) stop(ctx context.Context) error {
	if s.Stop == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.stopTimeout())
	defer cancel()
	done := make(chan error, 1)
	go guard(func() error { return s.Stop(ctx) }, func(err error) { done <- err })
	if returned, err := await(ctx, done, stepGrace); returned {
		return err
	}
	return &UnstoppedError{Names: []string{s.Name}}
}

// await waits for an answer until ctx is done, and then a moment longer for one who notices that.
func await(ctx context.Context, done <-chan error, grace time.Duration) (returned bool, err error) {
	select {
	case err := <-done:
		return true, err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-done:
		return true, err
	case <-timer.C:
		return false, nil
	}
}
