package oonatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// packetID names a state "key/number".
func packetID(d *oona.Delivery) string {
	m, _ := d.Payload.(*leyline.SystemStatePacket)
	return m.GetPacketId()
}

func keyOf(d *oona.Delivery) string {
	key, _, _ := strings.Cut(packetID(d), "/")
	return key
}

// sequences notes the order of what was handled, by key.
type sequences struct {
	mu    sync.Mutex
	byKey map[string][]string
}

func (q *sequences) add(d *oona.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byKey == nil {
		q.byKey = make(map[string][]string)
	}
	q.byKey[keyOf(d)] = append(q.byKey[keyOf(d)], packetID(d))
}

func (q *sequences) of(key string) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.byKey[key])
}

func testOrderPerKey(t *testing.T, b *bus) {
	const keys, each = 7, 40
	c := b.client(nil)
	want := make(map[string][]string)
	var msgs []oona.Message
	for n := range each {
		for k := range keys {
			key := fmt.Sprintf("seed-%d", k)
			id := fmt.Sprintf("%s/%02d", key, n)
			want[key] = append(want[key], id)
			msgs = append(msgs, oona.Message{Payload: state(id)})
		}
	}
	b.publish(c, msgs...)
	runs, done := newJournal(), &sequences{}
	b.consume(c, oona.Subscription{Stream: streams.Normal, Key: keyOf, Batch: 50,
		Handlers: handlers(typeState, func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
			if id := packetID(d); runs.add(id) == 1 && strings.HasSuffix(id, "3") {
				return nil, errDown // the first attempt of each tenth fails
			}
			done.add(d)
			if strings.HasSuffix(packetID(d), "5") { // some have answers: their commit takes another path
				return []oona.Message{{Stream: "oona.private", Payload: state("answer")}}, nil
			}
			return nil, nil
		})})
	b.settled(streams.Normal, "g")
	done.mu.Lock()
	defer done.mu.Unlock()
	b.same("order", want, done.byKey)
}

func testKeysRunBesideEachOther(t *testing.T, b *bus) {
	c := b.client(nil)
	done := &sequences{}
	gate := make(chan struct{})
	b.publish(c, oona.Message{Payload: state("slow/1")}, oona.Message{Payload: state("slow/2")},
		oona.Message{Payload: state("quick/1")}, oona.Message{Payload: state("quick/2")})
	b.consume(c, oona.Subscription{Stream: streams.Normal, Key: keyOf, Concurrency: 2,
		Handlers: handlers(typeState, seeing(func(d *oona.Delivery) {
			if packetID(d) == "slow/1" {
				<-gate
			}
			done.add(d)
		}))})
	b.eventually("the other key goes on", func() bool { return len(done.of("quick")) == 2 })
	if got := done.of("slow"); len(got) != 0 {
		t.Errorf("slow key: %v was handled before its predecessor", got)
	}
	close(gate)
	b.settled(streams.Normal, "g")
	if got := done.of("slow"); !slices.Equal(got, []string{"slow/1", "slow/2"}) {
		t.Errorf("slow key: %v", got)
	}
}

func testGivenUpEntryFreesItsKey(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = 2 })
	done := &sequences{}
	b.publish(c, oona.Message{Payload: state("k/bad")}, oona.Message{Payload: state("k/hopeless")}, oona.Message{Payload: state("k/good")})
	b.consume(c, oona.Subscription{Stream: streams.Normal, Key: keyOf,
		Handlers: handlers(typeState, func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
			done.add(d)
			switch packetID(d) {
			case "k/bad":
				return nil, errDown
			case "k/hopeless":
				return nil, oona.Permanent(errors.New("no such seed"))
			}
			return nil, nil
		})})
	b.settled(streams.Normal, "g")
	if got := done.of("k"); !slices.Equal(got, []string{"k/bad", "k/bad", "k/hopeless", "k/good"}) {
		t.Errorf("order = %v", got)
	}
}

func testOrderSurvivesAStop(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryBackoff, cfg.RetryAttempts = time.Hour, 100 })
	done := &sequences{}
	var want []string
	for n := range 20 {
		want = append(want, fmt.Sprintf("k/%02d", n))
		b.publish(c, oona.Message{Payload: state(want[n])})
	}
	failing := true
	sub := oona.Subscription{Stream: streams.Normal, Key: keyOf,
		Handlers: handlers(typeState, func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
			if packetID(d) == "k/07" && failing {
				return nil, errDown
			}
			done.add(d)
			return nil, nil
		})}
	stop := b.consume(c, sub)
	b.eventually("those before the failing one are handled", func() bool { return len(done.of("k")) == 7 })
	stop()
	failing = false
	b.consume(c, sub)
	b.settled(streams.Normal, "g")
	if got := done.of("k"); !slices.Equal(got, want) {
		t.Errorf("order = %v", got)
	}
}
