package oonatest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona"
)

var errDown = errors.New("catalogue is down")

func testGroupsApart(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = 3 })
	tries, healthy := newJournal(), newJournal()
	b.publish(c, oona.Message{Payload: state("s")})
	b.consume(c, oona.Subscription{Stream: streams.Normal, Group: "failing", Handlers: handlers(typeState, failing(tries))})
	b.consume(c, oona.Subscription{Stream: streams.Normal, Group: "healthy", Handlers: handlers(typeState, noting(healthy))})
	b.settled(streams.Normal, "failing")
	b.settled(streams.Normal, "healthy")
	if tries.count("run") != 3 || healthy.count("s") != 1 || len(b.entries(streams.Normal)) != 1 {
		t.Errorf("failing %d, healthy %d, entries %d", tries.count("run"), healthy.count("s"), len(b.entries(streams.Normal)))
	}
}

func testBackoff(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryBackoff, cfg.RetryAttempts = 40*time.Millisecond, 4 })
	var mu sync.Mutex
	var times []time.Time
	var attempts []int
	b.publish(c, oona.Message{Payload: state("s")})
	b.consume(c, oona.Subscription{Stream: streams.Normal,
		Handlers: handlers(typeState, func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
			mu.Lock()
			defer mu.Unlock()
			times, attempts = append(times, time.Now()), append(attempts, d.Attempt)
			return nil, errDown
		})})
	b.settled(streams.Normal, "g")
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(attempts, []int{1, 2, 3, 4}) {
		t.Fatalf("attempts = %v", attempts)
	}
	for i, want := range []time.Duration{40 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond} {
		if gap := times[i+1].Sub(times[i]); gap < want {
			t.Errorf("pause %d was %v, want at least %v", i, gap, want)
		}
	}
}

func testGivingUp(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = 2 })
	seen := newJournal()
	b.publish(c, oona.Message{Payload: state("weak")}, oona.Message{Payload: state("hopeless")}, oona.Message{Payload: state("good")})
	inner := noting(seen)
	b.consume(c, oona.Subscription{Stream: streams.Normal,
		Handlers: handlers(typeState, func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
			_, _ = inner(ctx, d)
			switch {
			case packetID(d) == "weak":
				return nil, errDown
			case packetID(d) == "hopeless":
				return nil, oona.Permanent(errors.New("no such seed"))
			}
			return nil, nil
		})})
	b.settled(streams.Normal, "g")
	b.same("handled", map[string]int{"weak": 2, "hopeless": 1, "good": 1}, seen.all())
	got := make(map[string][2]string)
	for _, e := range b.entries("oona.deadletter") {
		got[e.FieldValues["reason"]] = [2]string{e.FieldValues["error"], e.FieldValues["attempts"]}
	}
	want := map[string][2]string{"exhausted": {errDown.Error(), "2"}, "permanent": {"no such seed", "1"}}
	b.same("dead letters", want, got)
	if h := c.Health(); h.PublishFailures != 0 || h.Conservative {
		t.Errorf("handler failures reached the publish side: %+v", h)
	}
}

func testPanic(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = 1 })
	b.publish(c, oona.Message{Payload: state("bad")}, oona.Message{Payload: state("good")})
	seen := newJournal()
	inner := noting(seen)
	b.consume(c, oona.Subscription{Stream: streams.Normal,
		Handlers: handlers(typeState, func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
			if packetID(d) == "bad" {
				panic("index out of range")
			}
			return inner(ctx, d)
		})})
	b.settled(streams.Normal, "g")
	if seen.count("good") != 1 {
		t.Error("the good message was not handled")
	}
	dead := b.entries("oona.deadletter")
	if len(dead) != 1 || !strings.Contains(dead[0].FieldValues["error"], "index out of range\ngoroutine ") {
		t.Errorf("dead letters = %v", dead)
	}
}
