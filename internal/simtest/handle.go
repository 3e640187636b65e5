package simtest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

// nextWake is when there is something to do even if no entry comes.
func (b *body) nextWake() time.Time {
	at := earlier(b.mishap.at, b.nextClaim)
	for _, r := range b.retries {
		at = earlier(at, r)
	}
	return at
}

// retryDue delivers again what failed and has waited long enough.
func (b *body) retryDue(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(b.retries)) {
		if b.retries[id].After(time.Now()) || ctx.Err() != nil {
			continue
		}
		entries, err := b.ask(func(bus *Bus) ([]Entry, error) { return bus.reclaim(b.stream, b.group, b.consumer, id) })
		if err != nil {
			return err
		}
		delete(b.retries, id)
		if err := b.handle(ctx, entries); err != nil {
			return err
		}
	}
	return nil
}

// claimStale takes over what nobody has touched for long.
func (b *body) claimStale(ctx context.Context) error {
	if time.Now().Before(b.nextClaim) {
		return nil
	}
	b.nextClaim = time.Now().Add(claimPeriod)
	entries, err := b.ask(func(bus *Bus) ([]Entry, error) { return bus.claim(b.stream, b.group, b.consumer, claimIdle) })
	if err != nil {
		return err
	}
	return b.handle(ctx, b.notWaiting(entries))
}

// handle handles entries one after the other, and commits what came of them. Entries that it does not come to stay
// pending.
func (b *body) handle(ctx context.Context, entries []Entry) error {
	b.held = b.held[:0:0]
	work := supervise.Work(ctx)
	for _, e := range entries {
		if work.Err() != nil {
			break
		}
		outcome, err := b.decide(work, e)
		switch {
		case errors.Is(err, errCrash):
			return err
		case err == nil:
			b.held = append(b.held, outcome)
		}
	}
	if len(b.held) == 0 {
		return nil
	}
	if err := b.settle(ctx, work); err != nil {
		return err
	}
	b.held = nil
	return nil
}

var (
	errLater     = errors.New("handler failed")
	errPermanent = errors.New("handler failed for good")
	// errCrash is a handler that brings its worker down.
	errCrash = errors.New("handler crashed")
)

// decide handles one entry. An error says that it stays pending.
func (b *body) decide(work context.Context, e Entry) (Outcome, error) {
	o := Outcome{ID: e.ID, Name: e.Name}
	if e.Deliveries > attempts {
		o.Reason = exhausted
		return o, nil
	}
	switch err := b.handler(work, e); {
	case errors.Is(err, errCrash), work.Err() != nil, b.session.ended():
		return o, cmp.Or(err, errLater)
	case errors.Is(err, errPermanent):
		o.Reason = permanent
	case err != nil && e.Deliveries == attempts:
		o.Reason = exhausted
	case err != nil:
		b.retries[e.ID] = time.Now().Add(retryBackoff << (e.Deliveries - 1))
		return o, err
	default:
		to := b.answerTo[b.rng.IntN(len(b.answerTo))]
		o.Answers = []Message{{Stream: to, Name: "after " + e.Name, Cause: Cause{b.stream, e.Name, e.ID}}}
	}
	return o, nil
}

// roll is the handler of the simulation: it takes its time, and fails in every way there is.
func (b *body) roll(work context.Context, _ Entry) error {
	if b.rng.Float64() < shareOfSlow && b.clumsiness > 0 {
		waitUntil(time.Now().Add(draw(b.rng, handlerTime)), work.Done(), b.session.dead, nil)
	}
	if b.rng.Float64() >= b.clumsiness {
		return nil
	}
	switch luck := b.rng.Float64(); {
	case luck < shareOfCrash:
		return errCrash
	case luck < shareOfCrash+shareOfFatal:
		return errPermanent
	}
	return errLater
}

// settle commits what is held until the bus says so. A commit whose reply is lost is made again: then the bus finds
// nothing left to settle.
func (b *body) settle(ctx, work context.Context) error {
	var deadline time.Time
	for {
		err := b.commit(b.stream, b.group, b.consumer, b.held)
		if !errors.Is(err, errUnavailable) {
			return err
		}
		if ctx.Err() != nil && deadline.IsZero() {
			deadline = time.Now().Add(commitLinger)
		}
		if work.Err() != nil || !deadline.IsZero() && time.Now().After(deadline) {
			return nil
		}
		waitUntil(time.Now().Add(between(b.rng, healPause/8, healPause/4)), work.Done(), b.session.dead, nil)
	}
}
