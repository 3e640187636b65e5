package supervise

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Step is one step of bringing a process up, with what takes it down again.
type Step struct {
	Name string
	// Start returns when the step is done: what it started answers, what it opened is open. An error means that it
	// left nothing behind. It returns soon after ctx is done; ctx must not be kept for longer. nil does nothing.
	Start func(ctx context.Context) error
	// Stop undoes Start, and is called only after Start succeeded. nil does nothing.
	Stop func(ctx context.Context) error
	// StopTimeout bounds Stop, and how long Start may take to notice that ctx is done. Default: 15 s, which leaves
	// room for a worker that takes all of a supervisor's default bounds
	StopTimeout time.Duration
}

// Trace tells of one step of a boot.
type Trace struct {
	Step string
	Took time.Duration
	Err  error
}

// BootError names the step that failed and why. Everything before it was taken down again.
type BootError struct {
	Step     string
	Err      error
	Teardown error // what went wrong while taking down, nil when nothing did
}

func (e *BootError) Error() string {
	if e.Teardown != nil {
		return fmt.Sprintf("boot step %q: %v (and taking down: %v)", e.Step, e.Err, e.Teardown)
	}
	return fmt.Sprintf("boot step %q: %v", e.Step, e.Err)
}

func (e *BootError) Unwrap() error { return e.Err }

// Boot runs the steps in order. onStep, when not nil, is called after each. The end of ctx fails the boot: give it the
// boot timeout, and the signals.
//
// When a step fails, those before it are taken down in reverse order, by the very path that [Booted.Stop] takes, and
// the error is a *[BootError]. A step that panics has failed. A step that ignores the end of ctx for its StopTimeout
// is abandoned; should it succeed after all, it is taken down on the spot.
func Boot(ctx context.Context, steps []Step, onStep func(Trace)) (*Booted, error) {
	b := &Booted{steps: slices.Clone(steps)}
	for i, step := range b.steps {
		began := time.Now()
		err := step.start(ctx)
		trace := Trace{Step: step.Name, Took: time.Since(began), Err: err}
		if onStep != nil {
			onStep(trace)
		}
		if err != nil {
			b.steps = b.steps[:i]
			// ctx may be what ended; each teardown has its own bound.
			return nil, &BootError{Step: step.Name, Err: err, Teardown: b.Stop(context.WithoutCancel(ctx))}
		}
		b.trace = append(b.trace, trace)
	}
	return b, nil
}

// start runs the step's Start within ctx.
func (s Step) start(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.Start == nil {
		return nil
	}
	done, abandoned := make(chan error), make(chan struct{})
	go guard(func() error { return s.Start(ctx) }, func(err error) {
		select {
		case done <- err:
		case <-abandoned:
			s.stopLate(err)
		}
	})
	if returned, err := await(ctx, done, s.stopTimeout()); returned {
		return err
	}
	close(abandoned)
	return fmt.Errorf("%w: %w", ErrAbandoned, context.Cause(ctx))
}

// stopLate takes down a step that succeeded when nobody waited for it any more. Its boot has failed and was reported;
// there is nobody left to tell.
func (s Step) stopLate(err error) {
	if err == nil {
		// The boot's context has ended; the step's own bound applies.
		_ = s.stop(context.Background())
	}
}

func (s Step) stopTimeout() time.Duration { return positive(s.StopTimeout, 15*time.Second) }
