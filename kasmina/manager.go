package kasmina

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Errors of the manager's goroutine.
var (
	ErrRunning = errors.New("seed manager is running already")
	ErrStopped = errors.New("seed manager stopped")
)

// Manager owns the seeds. One goroutine, Run, owns all of its state: the other
// methods send it requests and wait for the result, or read a snapshot.
type Manager struct {
	config  Config
	inbox   chan envelope
	running atomic.Bool
	latest  atomic.Pointer[snapshot]

	// Everything below belongs to the owner goroutine.
	host      Host
	seeds     []*seed // in the order of germination
	ledger    *ledger
	breaker   breaker
	prefetch  *coordinator
	global    eventQueue
	verifier  verifierCounters
	rejected  map[string]int64 // by reason
	leaks     int64            // gradient isolation violations of all seeds
	fallbacks int64            // commands refused for asking for a fallback kernel
	packets   int64
	toldLeaks int64 // violations that a packet has told of

	lostEvents int64 // events dropped by seeds that have left

	// unchanged says that the last request was of no concern to any seed: on a
	// shared bus most answers are for somebody else, and a new snapshot for each
	// would cost more than the answer.
	unchanged bool

	work  context.Context // of the goroutines that Run owns
	tasks sync.WaitGroup

	replies replies
}

// request is one thing the owner goroutine is asked to do. It calls done once,
// at once or when a task of its own has ended.
type request interface {
	handle(m *Manager, done func(error))
}

type envelope struct {
	request request
	reply   chan error
}

// NewManager returns a manager that does nothing until Run. It fails when the
// nonce ledger cannot be read or written.
func NewManager(config Config) (*Manager, error) {
	config = config.withDefaults()
	ledger, err := openLedger(config.LedgerPath, config.LedgerCapacity, time.Now())
	if err != nil {
		return nil, fmt.Errorf("kasmina: %w", err)
	}
	m := &Manager{
		config:   config,
		inbox:    make(chan envelope),
		ledger:   ledger,
		breaker:  newBreaker(),
		prefetch: newCoordinator(config.PrefetchTimeout),
		rejected: make(map[string]int64),
		packets:  time.Now().UnixMicro(), // packet ids stay unique over restarts and among instances
	}
	m.publish()
	return m, nil
}

// Run owns the manager's state until ctx is done. It may be run again: the
// seeds, the ledger and the waits for kernels carry on.
func (m *Manager) Run(ctx context.Context) error {
	if !m.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer m.running.Store(false)
	work, cancel := context.WithCancel(ctx)
	m.work = work
	defer m.stop(cancel)
	return m.loop(ctx)
}

func (m *Manager) loop(ctx context.Context) error {
	sweep := time.NewTicker(m.config.SweepInterval)
	defer sweep.Stop()
	var report <-chan time.Time
	if m.config.TelemetryInterval > 0 {
		ticker := time.NewTicker(m.config.TelemetryInterval)
		defer ticker.Stop()
		report = ticker.C
	}
	for {
		var due <-chan time.Time
		if m.restless() {
			due = sweep.C
		}
		select {
		case <-ctx.Done():
			return nil
		case e := <-m.inbox:
			e.request.handle(m, func(err error) { m.replies.hold(e.reply, err) })
			if m.unchanged {
				m.unchanged = false
				m.replies.release()
				continue
			}
		case <-due:
			m.sweep(time.Now())
			m.flushGlobal()
		case <-report:
			m.report("", true)
		}
		m.flushUrgent()
		m.publish()
		m.replies.release()
	}
}

// restless reports whether anything waits for its time: a manager without it need
// not look at the clock.
func (m *Manager) restless() bool {
	return len(m.seeds) > 0 || len(m.prefetch.waiting) > 0 || len(m.ledger.queue) > 0 || !m.global.empty()
}

// stop ends the tasks, waits for them and releases the ledger's file.
func (m *Manager) stop(cancel context.CancelFunc) {
	cancel()
	m.tasks.Wait()
	m.replies.release()
	// What was noted since the last packets would otherwise be told to nobody.
	m.report("", false)
	for _, p := range m.prefetch.waiting {
		p.loading = false // what was being read is redelivered or times out
	}
	if err := m.ledger.close(); err != nil {
		m.config.Logger.Warn("close nonce ledger", "part", "kasmina", "error", err)
	}
}

// ask hands a request to the owner goroutine and waits for its result.
func (m *Manager) ask(ctx context.Context, r request) error {
	e := envelope{request: r, reply: make(chan error, 1)}
	select {
	case m.inbox <- e:
	case <-ctx.Done():
		return fmt.Errorf("kasmina: wait for the seed manager: %w", ctx.Err())
	}
	select {
	case err := <-e.reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("kasmina: wait for the seed manager's answer: %w", ctx.Err())
	}
}

// post hands the result of a task back to the owner. When the owner has
// stopped, the one who waits is told.
func (m *Manager) post(ctx context.Context, r request, done func(error)) {
	e := envelope{request: r, reply: make(chan error, 1)}
	select {
	case m.inbox <- e:
	case <-ctx.Done():
		done(ErrStopped)
	}
}

// HandleCommand verifies a command and carries it out. It returns nil, a
// *RejectedError (acknowledge the command, it stays refused), or another error
// that is worth a retry: no state has changed.
func (m *Manager) HandleCommand(ctx context.Context, cmd *leyline.AdaptationCommand) error {
	return m.ask(ctx, commandRequest{cmd})
}

// HandleReady takes a kernel that was announced. It returns once the seed has
// its kernel or has failed its gate; an answer that nobody waits for is nothing
// to do. An error is worth a retry.
func (m *Manager) HandleReady(ctx context.Context, ready *leyline.KernelArtifactReady) error {
	return m.ask(ctx, readyRequest{ready})
}

// HandleError takes the refusal of a kernel: the waiting seed fails its gate.
func (m *Manager) HandleError(ctx context.Context, refusal *leyline.KernelArtifactError) error {
	return m.ask(ctx, refusalRequest{refusal})
}

// RegisterHost makes host the place where seeds are attached and binds it to
// the manager. Seeds attached to an earlier host lose their place.
func (m *Manager) RegisterHost(ctx context.Context, host Host) error {
	if host == nil {
		return errors.New("kasmina: register host: there is none")
	}
	if err := m.ask(ctx, hostRequest{host}); err != nil {
		return err
	}
	host.Bind(m)
	return nil
}

// Observe takes a seed's evidence of one epoch and decides its promotion. A
// second observation of the same epoch changes nothing; an earlier epoch is
// ErrEpochBack, a seed that is not registered ErrUnknownSeed.
func (m *Manager) Observe(
	ctx context.Context, epoch uint32, seedID string, evidence map[string]float32,
) error {
	return m.ask(ctx, observeRequest{epoch: epoch, seedID: seedID, evidence: evidence})
}

// Finalize emits one packet for every seed, and one for what belongs to no
// seed, at the end of a training step. A seed is reported once per step, and
// again only when it has new events. A negative step stands for none: only
// seeds with events are reported.
func (m *Manager) Finalize(ctx context.Context, step int64) error {
	return m.ask(ctx, finalizeRequest{step})
}
