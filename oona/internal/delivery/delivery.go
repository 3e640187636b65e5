// Package delivery brings the entries of a stream to whoever handles them, at least
// once for each group. A Deliverer runs a Subscription: it reads, claims what others
// left, has each entry judged into a Task, runs the Work of the task, and commits
// what came of it. The client of oona says what an entry means; this room knows
// entries, marks and drafts alone.
package delivery

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
)

// Config is what the deliveries of one client have in common.
type Config struct {
	Conn       *redis.Conn
	Counters   *stats.Counters
	Logger     *slog.Logger
	Consumer   string // stable name: what it had in hand is found again after a restart
	DeadLetter string // stream of refused and exhausted entries
	MaxLength  string // of every stream, in entries
	Phase      cadence.Phase
	Sealer     envelope.Sealer
	Resign     time.Duration // an answer that has waited for so long is signed anew
	Recent     *verify.Recent

	RetryAttempts int           // errors of its handler before an entry is dead-lettered
	RetryBackoff  time.Duration // pause before the first retry
	ClaimIdle     time.Duration // idle time after which another consumer's entry is taken over; < 0 = never
	// Lost is told of entries that were removed before they could be finished.
	Lost func(ctx context.Context, stream, group string, entries int) error
}

// Subscription is what to deliver, and how.
type Subscription struct {
	Stream, Group string
	// Judge decides on entries: tasks has one for each, which tells whether it is
	// exhausted. Nothing in an entry may make it fail: the worst is a refusal.
	Judge func(entries []entry.Entry, tasks []Task)
	// Ordered: tasks of one key run in the order of their entries, one at a time.
	Ordered bool
	// AnswersOnly: a replay is looked for in Redis by the commit alone.
	AnswersOnly bool
	// Exclusive: whatever others of the group have in hand is this consumer's to do, in the
	// order of the stream. Its reader alone takes entries in.
	Exclusive bool
	Demand    *Demand // nil: always
	// Needs, when not nil, says what is away of what all tasks need, or nothing.
	Needs       func(context.Context) error
	Batch       int           // entries of one read
	Concurrency int           // tasks at the same time
	Block       time.Duration // about the longest wait of one read
	OnReady     func()        // called once, when groups exist and own pending entries were taken up
	// Fence is asked before anything is touched in this consumer's name.
	Fence func(context.Context) error
}

// Task is what is to be done about one entry.
type Task struct {
	// Exhausted: the entry was handed out so often without an outcome that it may
	// kill its process.
	Exhausted bool
	Stored    time.Time // that its entry's id tells

	// What Judge has decided.
	Mark    string              // Redis key of its request id, "" when it has none
	Key     string              // of its order, "" when it has none
	Work    handling            // nil: acknowledge and ignore
	Refusal *deadletter.Refusal // not nil: dead-letter

	id      string
	attempt int
	bytes   int64 // of its entry
	started time.Time
	begun   time.Time // when a worker took it up
}

// handling is that of one entry. It returns the answers, which are committed
// with the acknowledgement.
type handling interface {
	Run(ctx context.Context) ([]envelope.Draft, error)
}

// outcome is what came of the task, without answers.
func (t *Task) outcome() outcome {
	return outcome{id: t.id, mark: t.Mark, attempt: t.attempt, refusal: t.Refusal, stored: t.Stored, started: t.started}
}

// Deliverer runs the subscriptions of one client. It is safe for concurrent use.
type Deliverer struct {
	Config

	takeovers takeovers

	mu      sync.Mutex
	running map[*consumer]struct{}
}

// New delivers nothing yet.
func New(cfg Config) *Deliverer {
	return &Deliverer{Config: cfg, running: make(map[*consumer]struct{})}
}

// Run delivers until fetch is done, finishes what it has read, and returns. work is
// the context of the tasks: when it is done too, the rest stays pending. Outages and
// lost groups heal inside.
func (d *Deliverer) Run(fetch, work context.Context, sub Subscription) {
	s := newConsumer(d, sub)
	d.mu.Lock()
	d.running[s] = struct{}{}
	d.mu.Unlock()
	s.run(fetch, work)
	d.mu.Lock()
	delete(d.running, s)
	d.mu.Unlock()
}

// Stalls are the subscriptions of which nothing is finished now, sorted by stream.
func (d *Deliverer) Stalls() []Stall {
	d.mu.Lock()
	defer d.mu.Unlock()
	var stalls []Stall
	for s := range d.running {
		stalls = append(stalls, s.stalls()...)
	}
	slices.SortFunc(stalls, func(a, b Stall) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind))
	})
	return stalls
}

// InHand is the entry of each subscription whose task runs for the longest time, by
// stream: what a task takes says nothing of the others, which run beside it.
func (d *Deliverer) InHand() []Hand {
	d.mu.Lock()
	defer d.mu.Unlock()
	var oldest []Hand
	for s := range d.running {
		if t := s.inflight.oldest(); t != nil {
			oldest = append(oldest, Hand{Stream: s.sub.Stream, Group: s.sub.Group, Entry: t.id, Since: t.begun})
		}
	}
	slices.SortFunc(oldest, func(a, b Hand) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Group, b.Group))
	})
	return oldest
}

// consumer is one running subscription: a reader and a reclaim loop take entries in,
// workers run the tasks, a committer reports to Redis what came of them.
type consumer struct {
	c         *Deliverer
	sub       Subscription
	log       *slog.Logger
	batches   chan []entry.Entry
	queue     queue
	inflight  *inflight
	batcher   *batcher
	intake    intake
	pending   pendingList
	store     store
	skipper   skipper
	timings   timings
	gate      *gate
	order     *ordering // nil unless ordered
	committer committer
}

// timings are the latencies of the stream.
type timings struct{ consumed, delivered *stats.Recorder }

func newConsumer(d *Deliverer, sub Subscription) *consumer {
	log := d.Logger.With("stream", sub.Stream, "group", sub.Group)
	s := &consumer{
		c:        d,
		sub:      sub,
		log:      log,
		batches:  make(chan []entry.Entry, 1),
		queue:    newQueue(sub.Concurrency),
		inflight: newInflight(sub.Concurrency),
		batcher:  newBatcher(),
		pending:  pendingList{conn: d.Conn, stream: sub.Stream, group: sub.Group},
		store:    store{c: d, stream: sub.Stream, group: sub.Group},
		skipper:  skipper{conn: d.Conn, log: log, sub: &sub, phase: d.Phase},

		timings: timings{
			consumed:  d.Counters.Timing(stats.PathConsume, sub.Stream),
			delivered: d.Counters.Timing(stats.PathDelivery, sub.Stream),
		},
		gate:      newGate(sub.Needs),
		committer: committer{backoff: d.Conn.NewBackoff(log.With("step", "commit"), new(atomic.Int64))},
	}
	s.intake = intake{line: d.Conn.NewLine(sub.Stream), command: s.readCommand, most: sub.Batch}
	if sub.Ordered {
		s.order = newOrdering()
		s.inflight.order = s.order
	}
	return s
}

func (s *consumer) run(fetch, work context.Context) {
	var intake, ready, workers, committer sync.WaitGroup
	if s.order != nil {
		ready.Go(func() { s.dispatchReady(work) })
	}
	intake.Go(func() { // while the reader already waits for the next batch
		for entries := range s.batches {
			s.take(work, entries)
		}
	})
	intake.Go(func() {
		defer close(s.batches)
		s.read(fetch, work)
	})
	intake.Go(func() { s.reclaimLoop(fetch, work) })
	for i := range s.inflight.hands {
		workers.Go(func() { s.handleAll(work, &s.inflight.hands[i]) })
	}
	committer.Go(func() { s.commitAll(fetch, work) })

	intake.Wait()
	if s.order != nil {
		s.order.close()
		ready.Wait()
	}
	close(s.queue.loads)
	workers.Wait()
	s.batcher.close()
	committer.Wait()
}
