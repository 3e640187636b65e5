package simtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

// kind is a way for a run of a worker to go wrong.
type kind int

const (
	fails    kind = iota // returns an error
	panics               // with a value
	exits                // runtime.Goexit
	returns              // nil, without being asked to
	misleads             // returns a context error of some other context
	leaks                // fails, and leaves a goroutine behind that still holds work
	hangs                // does nothing any more, but heeds its fetch context
	lingers              // heeds only its work context
	deafens              // heeds no context at all for a while
	quits                // fails for good
	dies                 // asks for the end of the process
	kinds
)

var errInjected = errors.New("injected failure")

// weights say how often each kind is drawn, in a hundred thousand.
var weights = [kinds]int{
	fails: 39_400, panics: 10_000, exits: 7_000, returns: 10_000, misleads: 8_000, leaks: 12_000,
	hangs: 4_000, lingers: 4_000, deafens: 4_700, quits: 600, dies: 300,
}

// mishap is what is going to happen to one run of a worker.
type mishap struct {
	at   time.Time
	kind kind
	last time.Duration // how long a deaf worker stays so
}

// stormy are the kinds that come in storms; a panic costs the simulation more than all else, so it is the rarest.
var stormy = [...]kind{fails, fails, fails, fails, panics, exits, returns, returns, misleads, misleads}

// temper is how prone to mishaps a worker is. Most of the time it is calm; now and then it fails in quick succession
// for a while, which is what opens circuits.
type temper struct{ stormUntil time.Time }

const (
	calmRun    = 40 * time.Minute
	stormyRun  = 2 * time.Second
	stormShare = 0.03 // of runs that begin a storm
)

func (t *temper) next(rng *rand.Rand, now time.Time) mishap {
	storm, length := rng.Float64() < stormShare, between(rng, time.Minute, 15*time.Minute)
	if storm && now.After(t.stormUntil) {
		t.stormUntil = now.Add(length)
	}
	if now.Before(t.stormUntil) {
		return mishap{at: now.Add(draw(rng, stormyRun)), kind: stormy[rng.IntN(len(stormy))]}
	}
	return mishap{at: now.Add(draw(rng, calmRun)), kind: drawKind(rng), last: draw(rng, 20*time.Minute)}
}

func drawKind(rng *rand.Rand) kind {
	n := rng.IntN(100_000)
	for k, weight := range weights {
		if n < weight {
			return kind(k)
		}
		n -= weight
	}
	return fails
}

// strike lets it happen.
func (m mishap) strike(ctx context.Context, b *body) error {
	switch m.kind {
	case panics:
		panic("injected panic")
	case exits:
		runtime.Goexit()
	case returns:
		return nil
	case misleads:
		return fmt.Errorf("injected: %w", context.Canceled)
	case leaks:
		b.leak()
	case hangs:
		return b.hang(ctx)
	case lingers:
		b.witness.lingers(b.name)
		return b.hang(supervise.Work(ctx))
	case deafens:
		until := time.Now().Add(m.last)
		b.witness.deaf(b.name, until)
		waitUntil(until, b.session.dead, nil, nil)
	case quits:
		return supervise.Permanent(errInjected)
	case dies:
		return supervise.Fatal(errInjected)
	}
	return errInjected
}

func (b *body) hang(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-b.session.dead:
	}
	return nil
}

// leak leaves a goroutine behind that finishes, much too late, what the run had in hand.
func (b *body) leak() {
	held, after := b.held, between(b.rng, time.Second, 3*time.Minute)
	stray := &conn{bus: b.bus, session: b.session, rng: rand.New(rand.NewPCG(b.rng.Uint64(), b.rng.Uint64()))}
	b.strays.Go(func() {
		if waitUntil(time.Now().Add(after), b.session.dead, nil, nil) || len(held) == 0 {
			return
		}
		// Nobody is left to tell: the entries are somebody else's by now, and the bus says so.
		_ = stray.commit(b.stream, b.group, b.consumer, held)
	})
}
