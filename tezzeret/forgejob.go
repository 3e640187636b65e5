package tezzeret

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// commitTimeout bounds storing and announcing one kernel, which is finished
// even when the pass is being stopped: a kernel that was stored and never
// announced would stay unknown.
const commitTimeout = 5 * time.Second

// errPanicked marks a compilation that panicked.
var errPanicked = errors.New("panic")

// job is one blueprint of a pass and what became of it.
type job struct {
	descriptor   *leyline.BlueprintDescriptor
	index, total int
	done         func(error) // reports to the circuit, exactly once
	strategy     string

	compiled *Compiled
	err      error
	failures int // attempts that failed
	took     time.Duration
}

// admit takes as many of the first jobs as may be compiled at once now: one in
// conservative mode, none while the circuit is open.
func (f *Forge) admit(jobs []job) []*job {
	width, strategy := f.config.Parallel, StrategyStandard
	if f.record.isConservative() {
		width, strategy = 1, StrategyConservative
	}
	var wave []*job
	for i := range jobs[:min(width, len(jobs))] {
		done, err := f.circuit.Allow()
		if err != nil {
			break
		}
		j := &jobs[i]
		j.done, j.strategy = done, strategy
		wave = append(wave, j)
		f.record.started(j)
		f.progress(*j, StateCompiling, nil)
	}
	return wave
}

// compileWave compiles the jobs at the same time and waits for all of them.
func (f *Forge) compileWave(ctx context.Context, wave []*job) {
	var group sync.WaitGroup
	for _, j := range wave {
		group.Go(func() { f.attempt(ctx, j) })
	}
	group.Wait()
}

// commitWave commits jobs in order. Every admitted job reports to the circuit,
// or its trial would never end.
func (f *Forge) commitWave(ctx context.Context, wave []*job) error {
	for i, j := range wave {
		err := f.commit(ctx, j)
		if err == nil {
			continue
		}
		for _, dropped := range wave[i+1:] {
			dropped.done(context.Canceled)
		}
		return err
	}
	return nil
}

// attempt compiles a job, again after a failure that another try might mend.
func (f *Forge) attempt(ctx context.Context, j *job) {
	start := time.Now()
	defer func() { j.took = time.Since(start) }()
	for range f.config.Attempts {
		j.compiled, j.err = f.compileOnce(ctx, j)
		if j.err == nil || ctx.Err() != nil {
			return
		}
		j.failures++
		var refused *NotCompilableError
		if errors.As(j.err, &refused) || errors.Is(j.err, ErrParameters) {
			return
		}
	}
}

// compileOnce is one attempt within its time. What finishes too late is not a
// result: it must not be stored after the job was given up.
func (f *Forge) compileOnce(ctx context.Context, j *job) (compiled *Compiled, err error) {
	bounded, cancel := context.WithTimeout(ctx, f.config.JobTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			compiled, err = nil, fmt.Errorf("%w: %v\n%s", errPanicked, r, debug.Stack())
		}
	}()
	compile := f.config.Compiler.Compile
	if j.strategy == StrategyConservative {
		compile = f.config.Compiler.CompileConservative
	}
	compiled, err = compile(bounded, j.descriptor, Midpoints(j.descriptor))
	if err == nil {
		err = bounded.Err()
	}
	if err != nil {
		return nil, err
	}
	return compiled, nil
}

// commit stores and announces a compiled job, or parks a failed one. Its error
// means that the library failed.
func (f *Forge) commit(ctx context.Context, j *job) error {
	if j.err != nil && ctx.Err() != nil {
		j.done(context.Canceled)
		return nil
	}
	f.record.attemptsFailed(j.failures)
	if j.err != nil {
		f.park(j)
		return nil
	}
	j.done(nil)
	update, err := f.store(ctx, j)
	if err != nil {
		return err
	}
	delete(f.parked, j.descriptor.GetBlueprintId())
	f.record.succeeded(j)
	f.finishCompiled(*j, update)
	return nil
}

func (f *Forge) park(j *job) {
	id := j.descriptor.GetBlueprintId()
	f.parked[id]++
	f.record.failed(j)
	j.done(j.err)
	f.config.Logger.Warn("blueprint parked", "blueprint_id", id, "name", j.descriptor.GetName(), "error", j.err)
	f.finish(*j, StateFailed, j.err)
}

// store saves the kernel and announces it. A bus that is away does not undo
// what is stored: the update waits for the next pass.
func (f *Forge) store(ctx context.Context, j *job) (*leyline.KernelCatalogUpdate, error) {
	// A stop must not leave a kernel stored and unannounced.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	update, err := f.config.Library.Save(bounded, j.descriptor, j.compiled.Artifact,
		j.compiled.Update(), j.compiled.Extras())
	if err != nil {
		return nil, fmt.Errorf("tezzeret: store %s: %w", j.descriptor.GetBlueprintId(), err)
	}
	f.unannounced = append(f.unannounced, update)
	f.announceLeftovers(bounded)
	return update, nil
}

// skip leaves jobs for a later pass.
func (f *Forge) skip(jobs []job) {
	for _, j := range jobs {
		f.record.skipped(&j)
		f.finish(j, StateSkipped, ErrCircuitOpen)
	}
}
