package supervise

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Config is how a supervisor behaves. The zero value is usable.
type Config struct {
	SoftStop     time.Duration // how long a stop lets the work in hand finish. Default: 5 s
	HardStop     time.Duration // how long a stop then waits for the cancelled work. Default: 5 s
	ReadyTimeout time.Duration // how long Start waits for a worker with AwaitReady. Default: 10 s
	Rand         *rand.Rand    // seeds the jitter of each worker; not used elsewhere meanwhile. Default: seeded by chance
	// OnEvent sees every move of every worker, one at a time, in order. It is called on a goroutine of its own, so it
	// may take its time without holding up a worker; events beyond its backlog are dropped and counted. It must not
	// call Stop or StopWorker. Default: none
	OnEvent func(Event)
}

func (c Config) withDefaults() Config {
	c.SoftStop = positive(c.SoftStop, 5*time.Second)
	c.HardStop = positive(c.HardStop, 5*time.Second)
	c.ReadyTimeout = positive(c.ReadyTimeout, 10*time.Second)
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return c
}

// Spec declares a worker.
type Spec struct {
	Name       string
	Worker     Worker
	Finite     bool // Run may return nil when it has done what it was for
	AwaitReady bool // Start waits until the worker called Ready
	Policy     Policy
}

func (s Spec) validate() error {
	if s.Name == "" {
		return fmt.Errorf("%w: no name", ErrInvalidSpec)
	}
	if s.Worker == nil {
		return fmt.Errorf("%w: no worker", ErrInvalidSpec)
	}
	return nil
}

// Supervisor runs workers. Its methods may be called from any goroutine, and in any order; a worker's Run must not
// call Stop or StopWorker for itself.
type Supervisor struct {
	config Config
	events stream
	fatal  chan error

	mu      sync.Mutex
	workers []*worker // in start order; replaced and never changed, so that it can be read without the lock
	stopped bool
}

// New returns a supervisor without workers. It holds no goroutine and no resource until Start.
func New(config Config) *Supervisor {
	config = config.withDefaults()
	s := &Supervisor{config: config, fatal: make(chan error, 1)}
	s.events.init(config.OnEvent)
	return s
}

// Start starts a worker, and with AwaitReady waits until it is ready. ctx bounds only that wait: the worker lives
// until it is stopped, and sees the values of ctx but not its end.
//
// A worker that is not ready within ReadyTimeout, or when ctx ends, or that is left down before, is stopped again, and
// the error says why it failed last. Failures before that are retried as its policy says. A name is free again when
// the worker that had it is at rest. Errors: ErrInvalidSpec, ErrDuplicate, ErrStopped, ErrNotReady, the cause of ctx,
// what Run returned, each with the worker's name.
func (s *Supervisor) Start(ctx context.Context, spec Spec) error {
	w, err := s.admit(ctx, spec)
	if err != nil {
		return fmt.Errorf("starting worker %q: %w", spec.Name, err)
	}
	go w.own()
	if err := w.awaitReady(ctx, s.config.ReadyTimeout); err != nil {
		// Whoever got an error holds nothing to stop later. The caller's ctx may be the very thing that ended.
		w.stop(context.WithoutCancel(ctx))
		return fmt.Errorf("starting worker %q: %w", spec.Name, err)
	}
	return nil
}

// admit puts a new worker at the end of the start order.
func (s *Supervisor) admit(ctx context.Context, spec Spec) (*worker, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, ErrStopped
	}
	workers := slices.Clone(s.workers)
	if i := s.index(spec.Name); i >= 0 {
		if !workers[i].state().AtRest() {
			return nil, ErrDuplicate
		}
		workers = slices.Delete(workers, i, i+1)
	}
	w := newWorker(ctx, s, spec)
	workers = append(workers, w)
	s.workers = workers
	return w, nil
}

func (s *Supervisor) index(name string) int {
	return slices.IndexFunc(s.workers, func(w *worker) bool { return w.spec.Name == name })
}

// Status is what each worker is doing, in start order.
func (s *Supervisor) Status() []Status { return s.AppendStatus(nil) }

// AppendStatus appends what each worker is doing to a table that the caller may use again and again.
func (s *Supervisor) AppendStatus(table []Status) []Status {
	workers := s.snapshot()
	table = slices.Grow(table, len(workers))
	for _, w := range workers {
		table = append(table, w.snapshot())
	}
	return table
}

// Fatal delivers the first error that a worker marked with [Fatal]. Whoever runs the process stops it then.
func (s *Supervisor) Fatal() <-chan error { return s.fatal }

// Subscribe returns the events from now on, and a function that ends the subscription and closes the channel. Events
// that find the buffer full are dropped and counted, never waited for. A stop does not end a subscription.
func (s *Supervisor) Subscribe(buffer int) (<-chan Event, func()) { return s.events.subscribe(buffer) }

// DroppedEvents counts the events that a subscriber or OnEvent missed, because it was slow or because it panicked.
func (s *Supervisor) DroppedEvents() uint64 { return s.events.drops() }

// Alive asks the goroutine that owns each worker for a sign of life, and reports whether all gave one before ctx
// ended. It says nothing of what the workers do: it is the fact to feed a watchdog with, for a supervisor that cannot
// restart its workers is worse than none.
func (s *Supervisor) Alive(ctx context.Context) bool {
	for _, w := range s.snapshot() {
		select {
		case w.probe <- struct{}{}:
		case <-w.settled:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (s *Supervisor) snapshot() []*worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers
}
