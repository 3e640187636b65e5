package forge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
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

	// ErrUnannounced says that kernels are stored whose announcement nobody has taken
	// over yet; they wait in the journal.
	ErrUnannounced = errors.New("tezzeret: stored kernels could not be announced")

	// ErrAbandoned says that compilations which were given up still run, too
	// many to begin others.
	ErrAbandoned = errors.New("tezzeret: too many abandoned compilations still run")
)

// Library is where kernels are kept.
type Library interface {
	// Has says whether the library holds a kernel of the blueprint.
	Has(ctx context.Context, blueprintID string) (bool, error)

	// Save stores a kernel and returns the update with its artifact reference.
	Save(ctx context.Context, desc *leyline.BlueprintDescriptor, artifact []byte,
		update *leyline.KernelCatalogUpdate, extras map[string]any) (*leyline.KernelCatalogUpdate, error)
}

// StoredKernel is what a library holds of a blueprint: the update that
// announces it, artifact reference included, and the "build_digest" of its
// extras, empty for a kernel that no forge of ours has built.
type StoredKernel struct {
	BuildDigest string
	Update      *leyline.KernelCatalogUpdate
}

// Kernel is what a compiler built: the file, and what the library and the bus are
// told of it. Times are medians in milliseconds.
type Kernel struct {
	Artifact             []byte
	Update               *leyline.KernelCatalogUpdate // without artifact reference
	Extras               map[string]any
	CompileMs, PrewarmMs float64
}

// Compiler is what a forge drives; tezzeret.Compiler.ForForge is one.
type Compiler interface {
	// Compilable says why a blueprint cannot be compiled, whoever tries.
	Compilable(d *leyline.BlueprintDescriptor) error

	// BuildDigest identifies what Compile would build.
	BuildDigest(d *leyline.BlueprintDescriptor) string

	// Compile must return soon after ctx is done. One that does not is abandoned:
	// its result reaches nobody. A conservative one works once and measures little.
	Compile(ctx context.Context, d *leyline.BlueprintDescriptor, conservative bool) (*Kernel, error)

	// Classify gives the kind of an error of Compile as one word, and says whether
	// another attempt is pointless.
	Classify(err error) (kind string, final bool)
}

// Config is what a forge works with. Compiler, Blueprints and Library are
// required.
type Config struct {
	Compiler   Compiler
	Blueprints func() []*leyline.BlueprintDescriptor
	Library    Library

	// Announce publishes one stored kernel. Nil announces nothing.
	Announce func(ctx context.Context, update *leyline.KernelCatalogUpdate) error

	// Progress is called for each step of each job, from Run's goroutine.
	Progress func(Progress)

	// Stored looks up the kernel of a blueprint; false means that there is
	// none. With it the forge knows which stored kernels are out of date, and
	// announces one that a kill kept from being announced without compiling it
	// again. Nil: only the journal tells what was built.
	Stored func(ctx context.Context, blueprintID string) (StoredKernel, bool, error)

	// JournalPath is a file that keeps the queue's memory across processes:
	// failures, parked blueprints, kernels stored and not announced. A lock file
	// lies beside it. Empty: the memory is the process's.
	JournalPath string

	// ParkFor is how long a blueprint is left alone after every attempt of a
	// pass failed, twice as long each time, at most a day. Defaults to 10
	// minutes with a journal, and to no time without one.
	ParkFor time.Duration

	Parallel   int           // jobs compiled at once. Defaults to the number of cores.
	Attempts   int           // per job and pass. Defaults to 2.
	JobTimeout time.Duration // per attempt. Defaults to 60 s.
	Failures   int           // failed jobs in a row that open the circuit. Defaults to 3.
	OpenFor    time.Duration // until a trial. Defaults to twice JobTimeout, at most 60 s.
	Recovery   int           // successes in a row that end conservative mode. Defaults to 3.
	Logger     *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Announce == nil {
		c.Announce = func(context.Context, *leyline.KernelCatalogUpdate) error { return nil }
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.JournalPath != "" {
		c.ParkFor = cmp.Or(c.ParkFor, 10*time.Minute)
	}
	c.Parallel = cmp.Or(c.Parallel, runtime.GOMAXPROCS(0))
	c.Attempts = cmp.Or(c.Attempts, 2)
	c.JobTimeout = cmp.Or(c.JobTimeout, time.Minute)
	c.Failures = cmp.Or(c.Failures, 3)
	c.OpenFor = cmp.Or(c.OpenFor, min(time.Minute, 2*c.JobTimeout))
	c.Recovery = cmp.Or(c.Recovery, 3)
	return c
}

// Forge compiles what a library lacks. One Run is one pass over the catalogue;
// running it again compiles only what is still missing or out of date. Result,
// Metrics and Packet may be called at any time.
type Forge struct {
	config  Config
	circuit *gobreaker.TwoStepCircuitBreaker[any]
	record  *record

	// running is held during Run and guards the two fields below.
	running sync.Mutex
	memory  *journalState // what outlives a pass when there is no journal file
	journal *journal      // of the pass that runs

	kept atomic.Pointer[journal] // the same, while its file is open

	attempts sync.WaitGroup
	inFlight atomic.Int64 // compilations that have not returned, abandoned ones too

	mu    sync.Mutex
	ended map[State][]Job // in this pass or the last one
}

// New returns a forge that has not run.
func New(config Config) *Forge {
	f := &Forge{config: config.withDefaults(), memory: newJournalState()}
	f.record = newRecord(f.config.Recovery)
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

// Run goes through the catalogue once: what the library has is skipped unless
// it is out of date, what cannot be compiled is refused by name, the rest is
// compiled, stored and announced in catalogue order. A blueprint that fails is
// parked and the next one has its turn.
//
// Run returns nil when the pass is over, also when blueprints failed, and when
// ctx is done: no new job starts then, and a kernel that is being stored is
// still announced. It returns an error when the pass must be run again: the
// library or the journal cannot be reached, ErrUnannounced, ErrCircuitOpen or
// ErrAbandoned.
func (f *Forge) Run(ctx context.Context) (err error) {
	if !f.running.TryLock() {
		return ErrBusy
	}
	defer f.running.Unlock()
	f.resetResult()
	if f.journal, err = openJournal(f.config.JournalPath, f.memory, f.config.Logger); err != nil {
		return err
	}
	f.kept.Store(f.journal)
	defer func() {
		f.kept.Store(nil)
		err = errors.Join(err, f.journal.close())
	}()
	begun := time.Now()
	err = f.pass(ctx)
	if ctx.Err() != nil {
		return nil
	}
	f.logTotals(time.Since(begun))
	if left := len(f.journal.unannounced); err == nil && left > 0 {
		err = fmt.Errorf("%w: %d", ErrUnannounced, left)
	}
	return err
}

// logTotals says what a pass over the catalogue came to.
func (f *Forge) logTotals(took time.Duration) {
	r := f.Result()
	f.config.Logger.Info("forged", "compiled", len(r.Compiled), "present", len(r.Present), "refused", len(r.Refused),
		"failed", len(r.Failed), "skipped", len(r.Skipped), "parked", len(r.Parked), "took", took.Round(time.Millisecond))
}

// InPlace reports the want of the journal's file, or of its lock, while a pass works with
// them. The next pass begins with what is there then.
func (f *Forge) InPlace() error {
	if j := f.kept.Load(); j != nil {
		return j.inPlace()
	}
	return nil
}

// Wait returns when no compilation runs any more, abandoned ones included. A
// compiler that never returns keeps it for ever.
func (f *Forge) Wait() { f.attempts.Wait() }

func (f *Forge) pass(ctx context.Context) error {
	if err := f.announcePending(ctx); err != nil {
		return err
	}
	jobs, err := f.plan(ctx)
	if err != nil {
		return err
	}
	return f.work(ctx, jobs)
}

// work compiles jobs in waves, and commits each wave in order.
func (f *Forge) work(ctx context.Context, jobs []job) error {
	for len(jobs) > 0 && ctx.Err() == nil {
		if f.inFlight.Load() >= int64(2*f.config.Parallel) {
			f.skip(jobs, ErrAbandoned)
			return ErrAbandoned
		}
		wave := f.admit(jobs)
		if len(wave) == 0 {
			f.skip(jobs, ErrCircuitOpen)
			return ErrCircuitOpen
		}
		jobs = jobs[len(wave):]
		if err := f.runWave(ctx, wave); err != nil {
			return err
		}
	}
	return nil
}

// runWave compiles and commits what was admitted. Every admitted job reports to
// the circuit, or its trial would never end.
func (f *Forge) runWave(ctx context.Context, wave []*job) error {
	if err := f.journalStart(wave); err != nil {
		return errors.Join(err, f.giveBack(wave))
	}
	f.compileWave(ctx, wave)
	for i, j := range wave {
		if err := f.commit(ctx, j); err != nil {
			return errors.Join(err, f.giveBack(wave[i+1:]))
		}
	}
	return nil
}
