package tezzeret

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/esper-lite/weatherlight/leyline"
)

// Errors of a pass; the pass is to be run again later.
var (
	// ErrCircuitOpen says that too many compilations failed in a row: the rest
	// of the catalogue was skipped for now.
	ErrCircuitOpen = errors.New("tezzeret: circuit open, blueprints skipped")

	// ErrBusy says that this forge already runs.
	ErrBusy = errors.New("tezzeret: the forge is already running")
)

// Library is where kernels are kept.
type Library interface {
	// Has says whether the library holds a kernel of the blueprint.
	Has(ctx context.Context, blueprintID string) (bool, error)

	// Save stores a kernel and returns the update with its artifact reference.
	Save(ctx context.Context, desc *leyline.BlueprintDescriptor, artifact []byte,
		update *leyline.KernelCatalogUpdate, extras map[string]any) (*leyline.KernelCatalogUpdate, error)
}

// KernelCompiler is what a forge drives; *Compiler is one. Both compile
// methods must return soon after their context is done.
type KernelCompiler interface {
	Compilable(d *leyline.BlueprintDescriptor) error
	Compile(ctx context.Context, d *leyline.BlueprintDescriptor, params map[string]float64) (*Compiled, error)
	CompileConservative(ctx context.Context, d *leyline.BlueprintDescriptor,
		params map[string]float64) (*Compiled, error)
}

// ForgeConfig is what a forge works with. Compiler, Blueprints and Library are
// required.
type ForgeConfig struct {
	Compiler   KernelCompiler
	Blueprints func() []*leyline.BlueprintDescriptor
	Library    Library

	// Announce publishes one stored kernel. Nil announces nothing.
	Announce func(ctx context.Context, update *leyline.KernelCatalogUpdate) error

	// Progress is called for each step of each job, from Run's goroutine.
	Progress func(Progress)

	Parallel   int           // jobs compiled at once. Defaults to 2.
	Attempts   int           // per job and pass. Defaults to 2.
	JobTimeout time.Duration // per attempt. Defaults to 60 s.
	Failures   int           // failed jobs in a row that open the circuit. Defaults to 3.
	OpenFor    time.Duration // until a trial. Defaults to twice JobTimeout, at most 60 s.
	Recovery   int           // successes in a row that end conservative mode. Defaults to 3.
	Logger     *slog.Logger
}

func (c ForgeConfig) withDefaults() ForgeConfig {
	if c.Announce == nil {
		c.Announce = func(context.Context, *leyline.KernelCatalogUpdate) error { return nil }
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Parallel = cmp.Or(c.Parallel, 2)
	c.Attempts = cmp.Or(c.Attempts, 2)
	c.JobTimeout = cmp.Or(c.JobTimeout, time.Minute)
	c.Failures = cmp.Or(c.Failures, 3)
	c.OpenFor = cmp.Or(c.OpenFor, min(time.Minute, 2*c.JobTimeout))
	c.Recovery = cmp.Or(c.Recovery, 3)
	return c
}

// Forge compiles what a library lacks. One Run is one pass over the catalogue;
// running it again compiles only what is still missing. Result, Metrics and
// Packet may be called at any time.
type Forge struct {
	config  ForgeConfig
	circuit *gobreaker.TwoStepCircuitBreaker[any]
	record  *forgeRecord

	// running is held during Run and guards the two fields below.
	running     sync.Mutex
	parked      map[string]int                 // failures by blueprint id, to try those last
	unannounced []*leyline.KernelCatalogUpdate // stored, but the bus did not take them

	mu     sync.Mutex
	result ForgeResult
}

// NewForge returns a forge that has not run.
func NewForge(config ForgeConfig) *Forge {
	f := &Forge{config: config.withDefaults(), parked: make(map[string]int)}
	f.record = newForgeRecord(f.config.Recovery)
	f.circuit = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:     "tezzeret",
		Interval: 0,
		Timeout:  f.config.OpenFor,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return int64(n.ConsecutiveFailures) >= int64(f.config.Failures)
		},
		// A pass that was stopped says nothing about the compiler.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				f.record.opened(f.config.OpenFor)
			}
		},
	})
	return f
}

// Run goes through the catalogue once: what the library has is skipped, what
// cannot be compiled is refused by name, the rest is compiled, stored and
// announced in catalogue order. A blueprint that fails is parked and the next
// one has its turn.
//
// Run returns nil when the pass is over, also when blueprints failed, and when
// ctx is done: no new job starts then, and a kernel that is being stored is
// still announced. It returns an error when the pass must be run again: the
// library cannot be reached, announcements are left over, or ErrCircuitOpen.
func (f *Forge) Run(ctx context.Context) error {
	if !f.running.TryLock() {
		return ErrBusy
	}
	defer f.running.Unlock()
	f.resetResult()
	f.announceLeftovers(ctx)
	jobs, err := f.plan(ctx)
	if err == nil {
		err = f.work(ctx, jobs)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if left := len(f.unannounced); left > 0 {
		return fmt.Errorf("tezzeret: %d stored kernels could not be announced", left)
	}
	return nil
}

// work compiles jobs in waves, and commits each wave in order.
func (f *Forge) work(ctx context.Context, jobs []job) error {
	for len(jobs) > 0 && ctx.Err() == nil {
		wave := f.admit(jobs)
		if len(wave) == 0 {
			f.skip(jobs)
			return ErrCircuitOpen
		}
		jobs = jobs[len(wave):]
		f.compileWave(ctx, wave)
		if err := f.commitWave(ctx, wave); err != nil {
			return err
		}
	}
	return nil
}

// plan sorts the catalogue into refused, present and to be compiled; blueprints
// that failed before come last, so that they cannot keep others waiting.
func (f *Forge) plan(ctx context.Context) ([]job, error) {
	blueprints := f.config.Blueprints()
	var jobs []job
	for i, d := range blueprints {
		j := job{descriptor: d, index: i + 1, total: len(blueprints)}
		if err := f.config.Compiler.Compilable(d); err != nil {
			f.finish(j, StateRefused, err)
			continue
		}
		present, err := f.config.Library.Has(ctx, d.GetBlueprintId())
		if err != nil {
			return nil, fmt.Errorf("tezzeret: look for %s in the library: %w", d.GetBlueprintId(), err)
		}
		if present {
			f.finish(j, StatePresent, nil)
			continue
		}
		jobs = append(jobs, j)
	}
	slices.SortStableFunc(jobs, func(a, b job) int {
		return cmp.Compare(f.parked[a.descriptor.GetBlueprintId()], f.parked[b.descriptor.GetBlueprintId()])
	})
	f.record.queued(len(jobs))
	return jobs, nil
}

// announceLeftovers publishes, oldest first, what an earlier pass stored while
// the bus was away. It stops at the first failure.
func (f *Forge) announceLeftovers(ctx context.Context) {
	for len(f.unannounced) > 0 {
		if err := f.config.Announce(ctx, f.unannounced[0]); err != nil {
			f.config.Logger.Warn("stored kernel not announced yet",
				"blueprint_id", f.unannounced[0].GetBlueprintId(), "error", err)
			return
		}
		f.unannounced = f.unannounced[1:]
	}
}
