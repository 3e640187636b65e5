package supervise

import (
	"context"
	"sync"
)

// Work returns the context for the work in hand, given the context of Run or one derived from it. It ends when Run
// returned, or when a stop has waited SoftStop for it. It carries the values of the context given to Start, not those
// added below Run. Outside a supervisor there is one context for both, and Work returns ctx itself.
func Work(ctx context.Context) context.Context {
	if r, ok := ctx.Value(runKey{}).(*run); ok {
		return r.workContext()
	}
	return ctx
}

// Ready tells the supervisor that the worker can take work. ctx is the context of Run or one derived from it. Calls
// after the first of a run, and calls outside a supervisor, do nothing.
func Ready(ctx context.Context) {
	if r, ok := ctx.Value(runKey{}).(*run); ok {
		r.markReady()
	}
}

// runKey finds the run in the context given to Run.
type runKey struct{}

// run is one call of Run, with the contexts that end with it.
type run struct {
	fetch    runContext
	endFetch context.CancelFunc

	// Made when the worker first asks for it: many never do.
	work     runContext
	endWork  context.CancelFunc
	workOnce sync.Once
	forWork  context.Context // the worker's, which work derives from

	ready     chan struct{} // nil when nobody waits for it
	readyOnce sync.Once
}

// runContext knows its run, which saves every run a context for the value alone.
type runContext struct {
	context.Context
	run *run
}

// Value finds the run, and what the context below it carries.
func (c *runContext) Value(key any) any {
	if _, asked := key.(runKey); asked {
		return c.run
	}
	return c.Context.Value(key)
}

func newRun(fetch, work context.Context, awaitReady bool) *run {
	ctx, end := context.WithCancel(fetch)
	r := &run{endFetch: end, forWork: work}
	r.fetch = runContext{ctx, r}
	if awaitReady {
		r.ready = make(chan struct{})
	}
	return r
}

func (r *run) workContext() context.Context {
	r.workOnce.Do(r.openWork)
	return &r.work
}

func (r *run) openWork() {
	ctx, end := context.WithCancel(r.forWork)
	r.work, r.endWork = runContext{ctx, r}, end
}

// forgoWork gives whoever asks late a context that has ended.
func (r *run) forgoWork() { r.work, r.endWork = r.fetch, r.endFetch }

func (r *run) markReady() {
	if r.ready != nil {
		r.readyOnce.Do(func() { close(r.ready) })
	}
}

// end ends both contexts, so that what the run leaves behind is told to go.
func (r *run) end() {
	r.endFetch()
	r.workOnce.Do(r.forgoWork)
	r.endWork()
}
