package oonatest

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/signing"
)

func testStrictTrust(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.Trust = oona.TrustStrict })
	seen := newJournal()
	b.addSigned(streams.Normal, []byte(unhex(t, goldenState)))
	b.publish(c, oona.Message{Payload: state("bound")})
	b.consume(c, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState, noting(seen))})
	b.settled(streams.Normal, "g")
	b.same("handled", map[string]int{"bound": 1}, seen.all())
	b.dead(deadletter.ReasonUnbound)
}

// control is one message of each kind that must not take effect again.
func control() map[leyline.BusMessageType]proto.Message {
	return map[leyline.BusMessageType]proto.Message{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: &leyline.AdaptationCommand{CommandId: "c"},
		leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE:      &leyline.PolicyUpdate{},
		leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL:   &leyline.EmergencySignal{},
	}
}

// envelopeAt signs a control message as a peer of ours would have at a time.
func (b *bus) envelopeAt(m proto.Message, stream, nonce string, at time.Time) []byte {
	b.t.Helper()
	return b.envelope(m, map[string]string{"stream": stream, "issued_at_ms": strconv.FormatInt(at.UnixMilli(), 10),
		"key_id": b.ring.KeyID(), "nonce": nonce})
}

func testControlReplay(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	want := make(map[string]int)
	for kind, m := range control() {
		want[kind.String()] = 1
		stream := c.Route(m, 0).Stream
		sub := oona.Subscription{Stream: stream, Group: "g" + kind.String(), Handlers: handlers(kind, counting(seen))}
		stop := b.consume(c, sub)
		b.publish(c, oona.Message{Payload: m})
		entry := b.entries(stream)[0].FieldValues
		b.settled(stream, sub.Group)
		b.add(stream, "payload", entry["payload"], "signature", entry["signature"])
		b.settled(stream, sub.Group)
		stop()
		b.add(stream, "payload", entry["payload"], "signature", entry["signature"])
		b.consume(b.client(nil), sub) // a sibling, or this process after a restart
		b.settled(stream, sub.Group)
		b.addSigned(stream, b.envelopeAt(m, stream, "old", time.Now().Add(-time.Hour)))
		b.addSigned(stream, b.envelopeAt(m, stream, "future", time.Now().Add(time.Hour)))
		b.settled(stream, sub.Group)
	}
	b.same("took effect", want, seen.all())
	reasons := make(map[string]int)
	for _, reason := range b.deadReasons() {
		reasons[reason]++
	}
	b.same("dead letters", map[string]int{"replay": 6, "stale": 3, "future": 3}, reasons)
}

func testControlOfPrototype(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	kind := leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL
	raw := b.envelope(&leyline.EmergencySignal{}, nil)
	b.addSigned(streams.Emergency, raw)
	b.addSigned(streams.Emergency, raw)
	b.consume(c, oona.Subscription{Stream: streams.Emergency, Handlers: handlers(kind, counting(seen))})
	b.settled(streams.Emergency, "g")
	if n := seen.count(kind.String()); n != 2 {
		t.Errorf("%d of 2 signals of a prototype peer were taken", n)
	}
}

func testWaitingCommandDoesNotAge(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.ControlWindow, cfg.FreshnessWindow = time.Minute, time.Millisecond })
	seen := newJournal()
	// Stored at once, and its consumer was down for longer than the window.
	at := time.Now().Add(-time.Hour)
	raw := b.envelopeAt(&leyline.AdaptationCommand{CommandId: "c"}, streams.Normal, "n", at)
	b.must("XADD", streams.Normal, strconv.FormatInt(at.UnixMilli(), 10)+"-0",
		"payload", string(raw), "signature", b.ring.SignEnvelope(raw))
	b.consume(c, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeCommand, counting(seen))})
	b.settled(streams.Normal, "g")
	if seen.count(typeCommand.String()) != 1 {
		t.Errorf("the command was lost: %v", b.deadReasons())
	}
}

func testOnce(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	sub := oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState, noting(seen))}
	b.consume(c, sub)
	sub.Group = "other"
	b.consume(c, sub)
	for range 3 {
		b.publish(c, oona.Message{Payload: state("s"), Once: "name-1"}, oona.Message{Payload: state("q")})
	}
	b.settled(streams.Normal, "g")
	b.settled(streams.Normal, "other")
	b.same("handled by two groups", map[string]int{"s": 2, "q": 6}, seen.all())
}

// Sender and receiver are rotated one after the other while messages flow, as
// an operator would: accept the new secret, sign with it, drop the old one.
func testRotation(t *testing.T, b *bus) {
	rings := make([]*signing.Keyring, 2)
	for i := range rings {
		ring, err := signing.NewKeyring("zero")
		if err != nil {
			t.Fatal(err)
		}
		rings[i] = ring
	}
	sender := b.client(func(cfg *oona.Config) { cfg.Keyring = rings[0] })
	receiver := b.client(func(cfg *oona.Config) { cfg.Keyring = rings[1] })
	seen := b.noting(receiver)
	var published, stopped atomic.Int64
	var load sync.WaitGroup
	load.Go(func() {
		for ; stopped.Load() == 0; published.Add(1) {
			if err := sender.Publish(context.Background(), oona.Message{Payload: state(strconv.FormatInt(published.Load(), 10))}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	end := func() {
		stopped.Store(1)
		load.Wait()
	}
	defer end()         // also when the test fails: nothing may be told after its end
	handled := func() { // what was published up to now
		sent := published.Load()
		b.eventually("what was sent is handled", func() bool { return int64(len(seen.all())) > sent+5 })
	}
	steps := []struct{ current, previous string }{{"zero", "one"}, {"one", "zero"}, {"one", ""},
		{"one", "two"}, {"two", "one"}, {"two", ""}}
	for _, step := range steps {
		for _, ring := range rings {
			handled() // nothing of a secret that is dropped is under way
			if err := ring.Rotate(step.current, step.previous); err != nil {
				t.Fatal(err)
			}
		}
	}
	handled()
	end()
	b.settled(streams.Normal, "g")
	if int64(len(seen.all())) != published.Load() || len(receiver.Drops()) != 0 {
		t.Errorf("%d of %d messages were handled, refused: %v", len(seen.all()), published.Load(), receiver.Drops())
	}
}
