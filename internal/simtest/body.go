package simtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

// witness is told by the bodies of workers what they do.
type witness interface {
	began(worker string)
	ended(worker string)
	deaf(worker string, until time.Time)
	lingers(worker string)
	acknowledged(stream, name string)
}

// body is one run of a worker.
type body struct {
	*conn
	name          string
	stream, group string // empty for a worker that reads no stream
	consumer      string
	answerTo      []string // where answers go, one of them each
	witness       witness
	strays        *sync.WaitGroup
	mishap        mishap
	handler       func(work context.Context, e Entry) error
	clumsiness    float64 // that a handler fails
	held          []Outcome
	retries       map[ID]time.Time // when to try again
	nextClaim     time.Time
	period        time.Duration
	count         int // names what the worker publishes by itself
}

// run is the whole life of the body.
func (b *body) run(ctx context.Context) error {
	b.witness.began(b.name)
	defer b.witness.ended(b.name)
	if b.stream == "" {
		return b.loop(ctx)
	}
	return b.consume(ctx)
}

// loop is a worker that does something of its own from time to time: it publishes.
func (b *body) loop(ctx context.Context) error {
	supervise.Ready(ctx)
	for {
		tick := earlier(time.Now().Add(draw(b.rng, b.period)), b.mishap.at)
		if waitUntil(tick, ctx.Done(), b.session.dead, nil) {
			return nil
		}
		if !time.Now().Before(b.mishap.at) {
			return b.mishap.strike(ctx, b)
		}
		b.count++
		m := Message{Stream: b.answerTo[0], Name: fmt.Sprintf("%s-%d-%x", b.name, b.count, b.rng.Uint64())}
		if b.publish(m) == nil {
			b.witness.acknowledged(m.Stream, m.Name)
		}
	}
}

const (
	batchSize    = 16
	attempts     = 5
	retryBackoff = 250 * time.Millisecond
	healPause    = time.Second
	startPause   = time.Millisecond
	commitLinger = 2 * time.Second
	claimIdle    = time.Minute
	handlerTime  = time.Second // mean of those handlers that take their time
	shareOfSlow  = 0.1
	shareOfFatal = 0.1 // of failing handlers, that fail for good
	shareOfCrash = 0.1 // of failing handlers, that bring their worker down
	exhausted    = "exhausted"
	permanent    = "permanent"
	claimPeriod  = 5 * time.Minute
)

// consume is a worker that reads a stream, by the rules of package oona: own pending entries first, then new ones;
// failed ones again after a pause, those of consumers that are gone after a longer one.
func (b *body) consume(ctx context.Context) error {
	begun := false
	b.rest(ctx.Done(), startPause)
	for ctx.Err() == nil {
		err := b.turn(ctx, &begun)
		switch {
		case err == nil:
		case errors.Is(err, errUnavailable), errors.Is(err, errNoGroup):
			begun = false
			b.rest(ctx.Done(), healPause)
		case errors.Is(err, errCrash):
			return b.mishap.strike(ctx, b)
		default:
			return err
		}
		if !time.Now().Before(b.mishap.at) && ctx.Err() == nil {
			return b.mishap.strike(ctx, b)
		}
	}
	return nil
}

// rest waits for up to a pause, but no longer than until the mishap. No two workers wait for the same time.
func (b *body) rest(cut <-chan struct{}, pause time.Duration) {
	until := earlier(time.Now().Add(between(b.rng, pause/2, pause)), b.mishap.at)
	waitUntil(until, cut, b.session.dead, nil)
}

func (b *body) turn(ctx context.Context, begun *bool) error {
	if !*begun {
		if err := b.begin(ctx); err != nil {
			return err
		}
		*begun, b.nextClaim = true, time.Time{}
		supervise.Ready(ctx)
	}
	if err := b.retryDue(ctx); err != nil {
		return err
	}
	if err := b.claimStale(ctx); err != nil {
		return err
	}
	entries, err := b.read(ctx, b.stream, b.group, b.consumer, batchSize, b.nextWake())
	if err != nil {
		return err
	}
	return b.handle(ctx, entries)
}

// begin takes up what an earlier run left behind.
func (b *body) begin(ctx context.Context) error {
	if err := b.createGroup(b.stream, b.group); err != nil {
		return err
	}
	for after := ID(""); ctx.Err() == nil; {
		entries, err := b.ask(func(bus *Bus) ([]Entry, error) { return bus.own(b.stream, b.group, b.consumer, after, batchSize) })
		if err != nil || len(entries) == 0 {
			return err
		}
		after = entries[len(entries)-1].ID
		if err := b.handle(ctx, b.notWaiting(entries)); err != nil {
			return err
		}
	}
	return nil
}

func (b *body) notWaiting(entries []Entry) []Entry {
	return slices.DeleteFunc(entries, func(e Entry) bool {
		_, waits := b.retries[e.ID]
		return waits
	})
}

func newRand(seed uint64, words ...string) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, word := range words {
		for i := range len(word) {
			h = (h ^ uint64(word[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}
