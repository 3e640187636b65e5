package graft

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Reasons for which an order is dropped, the keys of Stats.Dropped.
const (
	DropSignature   = "signature"      // its command is not signed by the keyring
	DropForeign     = "not_an_order"   // a command of somebody else's
	DropRun         = "other_run"      //
	DropTrainer     = "other_trainer"  //
	DropNumber      = "number"         // not above the last one read
	DropMalformed   = "not_understood" //
	DropBacklog     = "backlog"        // the training loop has not called Apply for long
	DropLate        = "late"           // its deadline passed before it was applied
	DropOvertaken   = "overtaken"      // a later order for the seed was applied before
	DropUnknownSeed = "no_such_seed"   //
	DropStage       = "stage"          // the seed is in no stage to do that
	DropNotAccepted = "not_accepted"   // of a kind that Config.Accepts does not name
)

// maxBacklog bounds the orders that wait for Apply, and those for the fetcher.
const maxBacklog = 256

// arrival is an order on its way to the training loop, with its kernel when it
// has one.
type arrival struct {
	order  trainer.Order
	read   time.Time // with its monotonic reading
	kernel *prepared
	err    *AttachError
}

// late says that an order's deadline has passed.
func (a *arrival) late(now time.Time) bool {
	return a.order.Deadline > 0 && now.Sub(a.read) > a.order.Deadline
}

// inbox is what the background has for the training loop.
type inbox struct {
	mu     sync.Mutex
	read   uint64    // the highest order received
	ready  []arrival // for Apply
	wanted []arrival // for the fetcher
	signal chan struct{}

	arrived  uint64          // the highest order that stands in ready or wanted, or was dropped
	fetching map[uint64]bool // numbers of attach orders whose kernel is not there yet
	moved    chan struct{}   // closed and renewed when one of these changes
}

// Stats counts since New.
type Stats struct {
	Published   uint64            // reports that the bus took
	Replaced    uint64            // reports that a newer one overtook
	Unpublished uint64            // attempts that the bus refused
	Read        uint64            // orders that count
	Applied     uint64            // orders
	Dropped     map[string]uint64 // orders, by reason
}

type counters struct {
	mu    sync.Mutex
	stats Stats
}

func (c *counters) add(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// Stats are the counters since New.
func (g *Graft) Stats() Stats {
	g.counts.mu.Lock()
	defer g.counts.mu.Unlock()
	stats := g.counts.stats
	stats.Dropped = maps.Clone(stats.Dropped)
	return stats
}

// drop counts an order that does nothing, and tells of it.
func (g *Graft) drop(order trainer.Order, reason string, err error) {
	g.counts.add(func(s *Stats) {
		if s.Dropped == nil {
			s.Dropped = make(map[string]uint64)
		}
		s.Dropped[reason]++
	})
	log := g.log.Warn
	if reason == DropNumber || reason == DropForeign || reason == DropTrainer {
		log = g.log.Debug // the stream is read again now and then, and keeps what was for others
	}
	log("order dropped", "reason", reason, "kind", string(order.Kind), "order", order.Number, "seed", order.Seed, "error", err)
}

// take checks a command and queues the order in it, now being when it was read.
// It runs in the background.
func (g *Graft) take(command *leyline.AdaptationCommand, now time.Time) {
	if err := g.config.Keyring.VerifyCommand(command); err != nil {
		g.drop(trainer.Order{}, DropSignature, err)
		return
	}
	order, err := trainer.ReadOrder(command)
	if errors.Is(err, trainer.ErrNotAnOrder) {
		g.drop(order, DropForeign, err)
		return
	}
	switch {
	case order.Run != g.config.Run:
		g.drop(order, DropRun, nil)
		return
	case order.TrainerID != g.config.TrainerID:
		g.drop(order, DropTrainer, nil)
		return
	case order.Number == 0:
		g.drop(order, DropMalformed, err)
		return
	}
	if !g.receive(order.Number) {
		g.drop(order, DropNumber, nil)
		return
	}
	defer g.inbox.arrive(order.Number)
	g.counts.add(func(s *Stats) { s.Read++ })
	arrived := arrival{order: order, read: now}
	if err != nil {
		if order.Kind != trainer.Attach || order.Seed == "" {
			g.drop(order, DropMalformed, err)
			return
		}
		arrived.err = &AttachError{Seed: order.Seed, Failure: failureOf(err), Err: err}
	}
	if !g.inbox.queue(arrived) {
		g.drop(order, DropBacklog, nil)
	}
}

// receive moves the mark of what was read, unless the number lies below it.
func (g *Graft) receive(number uint64) bool {
	g.inbox.mu.Lock()
	defer g.inbox.mu.Unlock()
	if number <= g.inbox.read {
		return false
	}
	g.inbox.read = number
	return true
}

// queue puts an order where it goes next.
func (b *inbox) queue(a arrival) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.order.Kind == trainer.Attach && a.err == nil && a.kernel == nil {
		if len(b.wanted) == maxBacklog {
			return false
		}
		b.wanted = append(b.wanted, a)
		b.fetching[a.order.Number] = true
		select {
		case b.signal <- struct{}{}:
		default:
		}
		return true
	}
	if len(b.ready) == maxBacklog {
		return false
	}
	b.ready = append(b.ready, a)
	return true
}

// arrivals takes what is ready.
func (b *inbox) arrivals() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	ready := b.ready
	b.ready = nil
	return ready
}

func (b *inbox) lastRead() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// nextWanted waits for an order whose kernel is to be fetched.
func (b *inbox) nextWanted(ctx context.Context) (arrival, bool) {
	for {
		b.mu.Lock()
		if len(b.wanted) > 0 {
			first := b.wanted[0]
			b.wanted = b.wanted[1:]
			b.mu.Unlock()
			return first, true
		}
		b.mu.Unlock()
		select {
		case <-b.signal:
		case <-ctx.Done():
			return arrival{}, false
		}
	}
}

// failureOf is what an attach failed for whose order cannot be read.
func failureOf(err error) trainer.AttachFailure {
	field, ok := errors.AsType[*trainer.FieldError](err)
	if !ok {
		return trainer.AttachUnspecified
	}
	for _, prefix := range []string{"blend_", "alpha_", "gate_", "confidence_"} {
		if strings.HasPrefix(field.Name, prefix) {
			return trainer.AttachBlend
		}
	}
	switch field.Name {
	case "checksum":
		return trainer.AttachMismatch
	case "artifact_ref", "artifact_url":
		return trainer.AttachUnreachable
	default:
		return trainer.AttachUnspecified
	}
}

// pause is how long to wait after the next failure: from a tenth of a second
// doubling up to five, each time a random half of it more or less.
type pause struct {
	mu   sync.Mutex
	next time.Duration
	rng  *rand.Rand
}

const (
	leastPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// newPause spreads the pauses of different trainers by their ids.
func newPause(id string) *pause {
	var seed [32]byte
	copy(seed[:], id[max(0, len(id)-len(seed)):])
	return &pause{next: leastPause, rng: rand.New(rand.NewChaCha8(seed))}
}

func (p *pause) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = leastPause
}

// take is the pause for one more failure.
func (p *pause) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	length := p.next/2 + time.Duration(p.rng.Int64N(int64(p.next)))
	p.next = min(2*p.next, mostPause)
	return length
}

func (p *pause) wait(ctx context.Context) {
	cadence.Sleep(ctx, p.take())
}
