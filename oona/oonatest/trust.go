package oonatest

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	if diff := cmp.Diff(map[string]int{"bound": 1}, seen.all()); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	if got := b.deadReasons(); !slices.Equal(got, []string{deadletter.ReasonUnbound}) {
		t.Errorf("dead letters = %v", got)
	}
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
func (b *bus) envelopeAt(kind leyline.BusMessageType, m proto.Message, stream, nonce string, at time.Time) []byte {
	b.t.Helper()
	payload, err := proto.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	attributes := map[string]string{"stream": stream, "issued_at_ms": strconv.FormatInt(at.UnixMilli(), 10),
		"key_id": b.ring.KeyID()}
	if nonce != "" {
		attributes["nonce"] = nonce
	}
	raw, err := proto.Marshal(&leyline.BusEnvelope{MessageType: kind, Payload: payload, Attributes: attributes})
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

func testControlReplay(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	count := func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
		seen.add(d.Type.String())
		return nil, nil
	}
	want := make(map[string]int)
	for kind, m := range control() {
		want[kind.String()] = 1
		stream := c.Route(m, 0).Stream
		sub := oona.Subscription{Stream: stream, Group: "g" + kind.String(), Handlers: handlers(kind, count)}
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
		b.addSigned(stream, b.envelopeAt(kind, m, stream, "old", time.Now().Add(-time.Hour)))
		b.addSigned(stream, b.envelopeAt(kind, m, stream, "future", time.Now().Add(time.Hour)))
		b.settled(stream, sub.Group)
	}
	if diff := cmp.Diff(want, seen.all()); diff != "" {
		t.Errorf("took effect (-want +got):\n%s", diff)
	}
	reasons := make(map[string]int)
	for _, reason := range b.deadReasons() {
		reasons[reason]++
	}
	if diff := cmp.Diff(map[string]int{"replay": 6, "stale": 3, "future": 3}, reasons); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

func testControlOfPrototype(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	kind := leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL
	raw, err := proto.Marshal(&leyline.BusEnvelope{MessageType: kind})
	if err != nil {
		t.Fatal(err)
	}
	b.addSigned(streams.Emergency, raw)
	b.addSigned(streams.Emergency, raw)
	b.consume(c, oona.Subscription{Stream: streams.Emergency, Handlers: handlers(kind,
		func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			seen.add("signal")
			return nil, nil
		})})
	b.settled(streams.Emergency, "g")
	if seen.count("signal") != 2 {
		t.Errorf("%d of 2 signals of a prototype peer were taken", seen.count("signal"))
	}
}

func testWaitingCommandDoesNotAge(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.ControlWindow, cfg.FreshnessWindow = time.Minute, time.Millisecond })
	seen := newJournal()
	const kind = leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND
	// Stored at once, and its consumer was down for longer than the window.
	at := time.Now().Add(-time.Hour)
	raw := b.envelopeAt(kind, &leyline.AdaptationCommand{CommandId: "c"}, streams.Normal, "n", at)
	b.must("XADD", streams.Normal, strconv.FormatInt(at.UnixMilli(), 10)+"-0",
		"payload", string(raw), "signature", b.ring.SignEnvelope(raw))
	b.consume(c, oona.Subscription{Stream: streams.Normal,
		Handlers: handlers(kind, func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			seen.add("command")
			return nil, nil
		})})
	b.settled(streams.Normal, "g")
	if seen.count("command") != 1 {
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
	if diff := cmp.Diff(map[string]int{"s": 2, "q": 6}, seen.all()); diff != "" {
		t.Errorf("handled by two groups (-want +got):\n%s", diff)
	}
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
	seen := newJournal()
	b.consume(receiver, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState, noting(seen))})
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
