package forge

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
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

// patience is how long a compilation whose context is done may take to return
// before it is abandoned.
const patience = 250 * time.Millisecond

// job is one blueprint of a pass and what became of it.
type job struct {
	descriptor   *leyline.BlueprintDescriptor
	index, total int
	digest       string      // of the build
	trouble      int         // failures and crashes before this pass
	suspect      bool        // the process ended while it was compiled
	done         func(error) // reports to the circuit, exactly once
	conservative bool

	compiled *Kernel
	stored   *leyline.KernelCatalogUpdate // as the library has it
	err      error
	failures int // attempts that failed
	took     time.Duration
}

// admit takes as many of the first jobs as may be compiled at once now: one in
// conservative mode, a suspect alone, none while the circuit is open.
func (f *Forge) admit(jobs []job) []*job {
	width, conservative := f.config.Parallel, f.record.isConservative()
	if conservative {
		width = 1
	}
	var wave []*job
	for i := range jobs[:min(width, len(jobs))] {
		// A suspect is compiled alone, so that nobody else is blamed for it.
		if i > 0 && (jobs[i].suspect || jobs[0].suspect) {
			break
		}
		done, err := f.circuit.Allow()
		if err != nil {
			break
		}
		j := &jobs[i]
		j.done, j.conservative = done, conservative
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

// journalStart writes down what is being tried, before it can do harm.
func (f *Forge) journalStart(wave []*job) error {
	entries := make([]entry, len(wave))
	for i, j := range wave {
		entries[i] = entry{
			Op: opStarted, Blueprint: j.descriptor.GetBlueprintId(), Digest: j.digest, Time: time.Now().UTC(),
		}
	}
	return f.journal.append(entries...)
}

// giveBack ends jobs without a verdict.
func (f *Forge) giveBack(jobs []*job) error {
	var entries []entry
	for _, j := range jobs {
		j.done(context.Canceled)
		entries = append(entries, entry{Op: opStopped, Blueprint: j.descriptor.GetBlueprintId()})
	}
	if len(entries) == 0 {
		return nil
	}
	return f.journal.append(entries...)
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
		if _, final := f.config.Compiler.Classify(j.err); final {
			return
		}
	}
}

// verdict is the outcome of one attempt.
type verdict struct {
	compiled *Kernel
	err      error
}

// compileOnce is one attempt within its time. What finishes too late is not a
// result: the channel is the attempt's own, and nobody reads it any more.
func (f *Forge) compileOnce(ctx context.Context, j *job) (*Kernel, error) {
	bounded, cancel := context.WithTimeout(ctx, f.config.JobTimeout)
	defer cancel()
	answer, d, conservative := make(chan verdict, 1), j.descriptor, j.conservative
	f.inFlight.Add(1)
	f.attempts.Go(func() {
		v := guarded(func() (*Kernel, error) { return f.config.Compiler.Compile(bounded, d, conservative) })
		f.inFlight.Add(-1) // before the answer: whoever has it must not find the attempt running
		answer <- v
	})
	v := f.await(bounded, answer)
	if v.err == nil {
		v.err = bounded.Err()
	}
	if v.err != nil {
		return nil, v.err
	}
	return v.compiled, nil
}

// await returns the attempt's verdict, or the context's when the compilation
// does not return although its context is done.
func (f *Forge) await(bounded context.Context, answer <-chan verdict) verdict {
	select {
	case v := <-answer:
		return v
	case <-bounded.Done():
	}
	patient := time.NewTimer(patience)
	defer patient.Stop()
	select {
	case v := <-answer:
		return v
	case <-patient.C:
		return verdict{err: bounded.Err()}
	}
}

// guarded makes a failure of a panic.
func guarded(compile func() (*Kernel, error)) (v verdict) {
	defer func() {
		if r := recover(); r != nil {
			v = verdict{err: fmt.Errorf("%w: %v\n%s", errPanicked, r, debug.Stack())}
		}
	}()
	v.compiled, v.err = compile()
	return v
}

// commit stores and announces a compiled job, or parks a failed one. Its error
// means that the library or the journal failed.
func (f *Forge) commit(ctx context.Context, j *job) error {
	if j.err != nil && ctx.Err() != nil {
		return f.giveBack([]*job{j})
	}
	f.record.attemptsFailed(j.failures)
	if j.err != nil {
		return f.park(j)
	}
	j.done(nil)
	if err := f.store(ctx, j); err != nil {
		return err
	}
	f.record.succeeded(j)
	f.finish(*j, StateCompiled, nil)
	return nil
}

// park leaves a failed job alone for a while. A refusal that only building
// could find is one all the same.
func (f *Forge) park(j *job) error {
	id := j.descriptor.GetBlueprintId()
	f.record.failed(j, f.failureKind(j.err))
	j.done(j.err)
	f.config.Logger.Warn("blueprint parked", "blueprint_id", id, "name", j.descriptor.GetName(), "error", j.err)
	f.finish(*j, StateFailed, j.err)
	failures := 1
	if s := f.journal.of(id); s.tried == j.digest {
		failures += s.failures
	}
	return f.journal.append(entry{
		Op: opFailed, Blueprint: id, Digest: j.digest, Failures: failures,
		Reason: firstLine(j.err.Error()), Until: time.Now().UTC().Add(f.parkFor(failures)),
	})
}

// failureKind is the short name of an error's kind.
func (f *Forge) failureKind(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, errPanicked):
		return "panic"
	default:
		kind, _ := f.config.Compiler.Classify(err)
		return kind
	}
}

// firstLine leaves a stack trace out.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// store saves the kernel and announces it. An announcement that fails does not undo
// what is stored: the update waits for the next pass. Each step is written down
// around it, so that a kill at any point loses no announcement.
func (f *Forge) store(ctx context.Context, j *job) error {
	// A stop must not leave a kernel stored and unannounced.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	id := j.descriptor.GetBlueprintId()
	err := f.journal.append(entry{Op: opSaving, Blueprint: id, Digest: j.digest, Checksum: j.compiled.Update.GetChecksum()})
	if err != nil {
		return err
	}
	j.stored, err = f.config.Library.Save(bounded, j.descriptor, j.compiled.Artifact, j.compiled.Update, j.compiled.Extras)
	if err != nil {
		return fmt.Errorf("tezzeret: store %s: %w", id, err)
	}
	if err := f.journal.appendStored(j.stored, j.digest); err != nil {
		return err
	}
	return f.announcePending(bounded)
}

// skip leaves jobs for a later pass.
func (f *Forge) skip(jobs []job, reason error) {
	for _, j := range jobs {
		f.record.skipped(&j)
		f.finish(j, StateSkipped, reason)
	}
}
