package oonatest

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

const (
	goldenRequest          = "080612210a057265712d31120442502d311a0572756e2d31220b0880e2cfaa0610c0a9d33a"
	goldenRequestSignature = "gFJzkFEpmDJkQlWDsws4SW9O1qr/7M4xvGRJHQokfMY="
	goldenState            = "0801120208011a0c0a07617474656d7074120131"
	goldenStateSignature   = "70A9OjRl+bu4ZZ4FJFT/v84SNBVM8V72Yq/rSZRrenw="
)

func unhex(t *testing.T, text string) string {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func testGoldenVectors(t *testing.T, b *bus) {
	b.add(streams.KernelRequests, "payload", unhex(t, goldenRequest), "signature", goldenRequestSignature)
	b.add(streams.Normal, "payload", unhex(t, goldenState), "signature", goldenStateSignature)
	// The request is from 2023: only a client without a freshness window takes it.
	c := b.client(func(cfg *oona.Config) { cfg.FreshnessWindow = 0 })
	got := make(chan *oona.Delivery, 2)
	handler := seeing(func(d *oona.Delivery) { got <- d })
	b.consume(c, oona.Subscription{Stream: streams.KernelRequests, Handlers: handlers(typeRequest, handler)})
	r, _ := (<-got).Payload.(*leyline.KernelPrefetchRequest)
	want := &leyline.KernelPrefetchRequest{RequestId: "req-1", BlueprintId: "BP-1", TrainingRunId: "run-1",
		IssuedAt: &timestamppb.Timestamp{Seconds: 1700000000, Nanos: 123000000}}
	if !proto.Equal(r, want) {
		t.Errorf("request = %v, want %v", r, want)
	}
	b.consume(c, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState, handler)})
	d := <-got
	s, _ := d.Payload.(*leyline.SystemStatePacket)
	if s.GetVersion() != 1 || d.Attributes["attempt"] != "1" {
		t.Errorf("state = %v, attributes %v", s, d.Attributes)
	}
}

func testEntryForm(t *testing.T, b *bus) {
	c := b.client(nil)
	b.publish(c, oona.Message{Payload: state("s"), Attributes: map[string]string{"stream": "forged", "a": "1"}})
	entries := b.entries(streams.Normal)
	if len(entries) != 1 || len(entries[0].FieldValues) != 2 {
		t.Fatalf("entries = %v", entries)
	}
	payload, signature := entries[0].FieldValues["payload"], entries[0].FieldValues["signature"]
	if err := b.ring.VerifyEnvelope([]byte(payload), signature); err != nil {
		t.Errorf("signature: %v", err)
	}
	var env leyline.BusEnvelope
	if err := proto.Unmarshal([]byte(payload), &env); err != nil {
		t.Fatal(err)
	}
	attributes := env.GetAttributes()
	if attributes["stream"] != streams.Normal || attributes["a"] != "1" || attributes["key_id"] != b.ring.KeyID() ||
		attributes["nonce"] == "" || attributes["issued_at_ms"] == "" {
		t.Errorf("attributes = %v", attributes)
	}
	if env.GetMessageType() != typeState {
		t.Errorf("type = %v", env.GetMessageType())
	}
}

func testEveryType(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.FreshnessWindow = 0 })
	ctx := context.Background()
	high := leyline.MessagePriority_MESSAGE_PRIORITY_HIGH
	published := []struct {
		stream string
		kind   leyline.BusMessageType
		err    error
	}{
		{streams.Normal, 1, c.Publish(ctx, oona.Message{Payload: state("s")})},
		{streams.Normal, 2, c.Publish(ctx, oona.Message{Payload: &leyline.AdaptationCommand{CommandId: "x"}})},
		{streams.Normal, 3, c.Publish(ctx, oona.Message{Payload: &leyline.FieldReport{ReportId: "x"}})},
		{streams.Telemetry, 4, c.PublishTelemetry(ctx, &leyline.TelemetryPacket{}, 0)},
		{streams.Emergency, 4, c.PublishTelemetry(ctx, &leyline.TelemetryPacket{}, high)},
		{streams.Policy, 5, c.Publish(ctx, oona.Message{Payload: &leyline.PolicyUpdate{PolicyId: "x"}})},
		{streams.KernelRequests, 6, c.PublishKernelPrefetchRequest(ctx, request("x"))},
		{streams.KernelReady, 7, c.Publish(ctx, oona.Message{Payload: &leyline.KernelArtifactReady{}})},
		{streams.KernelErrors, 8, c.Publish(ctx, oona.Message{Payload: &leyline.KernelArtifactError{}})},
		{streams.KernelReady, 9, c.Publish(ctx, oona.Message{Payload: &leyline.KernelCatalogUpdate{}})},
		{streams.Emergency, 10, c.Publish(ctx, oona.Message{Payload: &leyline.EmergencySignal{Origin: "x"}})},
		{streams.Normal, 20, c.Publish(ctx, oona.Message{Payload: &leyline.BSDSIssued{}})},
		{streams.Normal, 21, c.Publish(ctx, oona.Message{Payload: &leyline.BSDSFailed{}})},
		{streams.Normal, 22, c.Publish(ctx, oona.Message{Payload: &leyline.BenchmarkReport{}})},
	}
	seen := newJournal()
	table := make(map[string]map[leyline.BusMessageType]oona.Handler)
	for _, p := range published {
		if p.err != nil {
			t.Fatalf("publish type %v: %v", p.kind, p.err)
		}
		if table[p.stream] == nil {
			table[p.stream] = make(map[leyline.BusMessageType]oona.Handler)
		}
		table[p.stream][p.kind] = seeing(func(d *oona.Delivery) { seen.add(d.Stream + " " + d.Type.String()) })
	}
	for _, stream := range streams.Names() {
		b.consume(c, oona.Subscription{Stream: stream, Handlers: table[stream]})
		b.settled(stream, "g")
	}
	for _, p := range published {
		if n := seen.count(p.stream + " " + p.kind.String()); n != 1 {
			t.Errorf("%v on %s was handled %d times", p.kind, p.stream, n)
		}
	}
	b.dead()
}

func testHistory(t *testing.T, b *bus) {
	c := b.client(nil)
	b.publish(c, oona.Message{Payload: state("early")})
	seen := b.noting(c)
	b.eventually("the early message is handled", func() bool { return seen.count("early") == 1 })
}

func (b *bus) envelope(payload proto.Message, attributes map[string]string) []byte {
	b.t.Helper()
	body, err := proto.Marshal(payload)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.wrapped(leyline.TypeOf(payload), body, attributes)
}

func (b *bus) wrapped(kind leyline.BusMessageType, body []byte, attributes map[string]string) []byte {
	b.t.Helper()
	env, err := proto.Marshal(&leyline.BusEnvelope{MessageType: kind, Payload: body, Attributes: attributes})
	if err != nil {
		b.t.Fatal(err)
	}
	return env
}

func testPoison(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.MaxPayload = 4096 })
	good := func(id string) { b.addSigned(streams.Normal, b.envelope(state(id), nil)) }
	env := b.envelope(state("forged"), nil)
	good("0")
	b.add(streams.Normal, "payload", string(env))
	good("1")
	b.add(streams.Normal, "payload", string(env), "signature", "sïgnature\xff\xfe")
	b.add(streams.Normal, "payload", string(env), "signature", strings.Repeat("A", 43)+"=")
	good("2")
	b.addSigned(streams.Normal, []byte("\xff\xff\xff"))
	b.add(streams.Normal, "something", "else")
	b.addSigned(streams.Normal, b.envelope(request("r"), nil))
	good("3")
	b.addSigned(streams.Normal, b.envelope(state(strings.Repeat("x", 5000)), nil))
	b.addSigned(streams.Normal, []byte{0x08, 0x01, 0x12, 0x01, 0xff})
	b.addSigned(streams.Normal, nil)
	good("4")
	seen := b.noting(c)
	b.settled(streams.Normal, "g")
	b.same("handled", map[string]int{"0": 1, "1": 1, "2": 1, "3": 1, "4": 1}, seen.all())
	want := []string{"bad_signature", "bad_signature", "oversized", "undecodable", "undecodable", "undecodable",
		"unsigned", "wrong_type", "wrong_type"}
	b.same("dead letters", want, b.deadReasons())
	// The client counts once it has heard of what the bus shows already.
	b.eventually("every refusal is counted", func() bool {
		var total int64
		for _, drop := range c.Drops() {
			total += drop.Count
		}
		return total == int64(len(want))
	})
}

func testDeadLetterFields(t *testing.T, b *bus) {
	c := b.client(nil)
	id := b.add(streams.Normal, "payload", "\x00\xffbytes", "signature", "nonsense")
	b.consume(c, oona.Subscription{Stream: streams.Normal})
	b.settled(streams.Normal, "g")
	dead := b.entries("oona.deadletter")
	if len(dead) != 1 {
		t.Fatalf("dead letters = %v", dead)
	}
	fields := dead[0].FieldValues
	when := fields["time"]
	delete(fields, "time")
	want := map[string]string{"payload": "\x00\xffbytes", "signature": "nonsense", "origin_stream": streams.Normal,
		"entry_id": id, "group": "g", "reason": "bad_signature", "error": "signature is invalid", "attempts": "1"}
	b.same("fields", want, fields)
	if len(when) != len("1700000000000") {
		t.Errorf("time = %q, want unix milliseconds", when)
	}
}

func testBootstrap(t *testing.T, b *bus) {
	c := b.client(nil)
	b.add(streams.Normal, "bootstrap", "")
	b.consume(c, oona.Subscription{Stream: streams.Normal})
	b.settled(streams.Normal, "g")
	b.dead()
}

func testDispatchByType(t *testing.T, b *bus) {
	c := b.client(nil)
	b.publish(c, oona.Message{Payload: &leyline.KernelCatalogUpdate{BlueprintId: "b"}},
		oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: "r"}})
	seen := newJournal()
	b.consume(c, oona.Subscription{Stream: streams.KernelReady, Handlers: handlers(typeReady, counting(seen))})
	b.settled(streams.KernelReady, "g")
	b.same("handled", map[string]int{typeReady.String(): 1}, seen.all())
	if dead := b.deadReasons(); len(dead) != 0 {
		t.Errorf("a valid type without handler was refused: %v", dead)
	}
}

func testEmergencyStream(t *testing.T, b *bus) {
	c := b.client(nil)
	for _, payload := range []proto.Message{state("s"), request("r"), &leyline.PolicyUpdate{}, &leyline.EmergencySignal{}} {
		b.addSigned(streams.Emergency, b.envelope(payload, nil))
	}
	seen := newJournal()
	b.consume(c, oona.Subscription{Stream: streams.Emergency, Handlers: map[leyline.BusMessageType]oona.Handler{
		typeState: noting(seen), typeRequest: answering(seen),
	}})
	b.settled(streams.Emergency, "g")
	b.same("handled", map[string]int{"s": 1, "r": 1}, seen.all())
	if dead := b.deadReasons(); len(dead) != 0 || b.answers() != 1 {
		t.Errorf("dead letters %v, answers %d", dead, b.answers())
	}
}

func testForeignStream(t *testing.T, b *bus) {
	c := b.client(nil)
	b.publish(c, oona.Message{Payload: &leyline.EmergencySignal{Origin: "x"}})
	moved := b.entries(streams.Emergency)[0].FieldValues
	b.add("oona.private", "payload", moved["payload"], "signature", moved["signature"])
	b.consume(c, oona.Subscription{Stream: "oona.private"})
	b.settled("oona.private", "g")
	b.dead("foreign_stream")
}
