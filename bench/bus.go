package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	busBatch    = 100
	busStream   = "oona.telemetry"
	payloadSize = 300 // of the serialised packet, in bytes
	// backlogBound keeps what is published for a consumer from being trimmed
	// before it is read.
	backlogBound = 10_000_000
)

func busRows() []row {
	return []row{
		{"publish", "messages/s", higher, map[string]float64{prototype: 1500}},
		{"publish_p99_us", "us", lower, nil},
		{"publish_allocs", "allocations/message", lower, nil},
		{"consume", "messages/s", higher, map[string]float64{prototype: 5000}},
		{"consume_allocs", "allocations/message", lower, nil},
	}
}

// traffic is what the bus measurements share.
type traffic struct {
	*bench
	raw    rueidis.Client
	client *oona.Client
	packet *leyline.TelemetryPacket
	entry  entry // the packet as our client writes it; the raw peers carry the same

	keyring *signing.Keyring // of the peer that signs
	mill    *mill
	jet     *jet
}

// measureBus publishes and consumes signed telemetry.
func measureBus(ctx context.Context, b *bench) error {
	t, err := b.newTraffic(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.interleavePublish(ctx); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := t.interleaveConsume(ctx); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	return nil
}

func (b *bench) newTraffic(ctx context.Context) (*traffic, error) {
	t := &traffic{bench: b, packet: newPacket()}
	var err error
	if t.keyring, err = signing.NewKeyring(secret); err != nil {
		return nil, err
	}
	if t.client, err = connectOurs(ctx, b.redis.url); err != nil {
		return nil, err
	}
	if t.raw, err = connect(b.redis.url); err != nil {
		return nil, errors.Join(err, t.client.Close())
	}
	t.mill = newMill(b.redis.addr)
	if t.jet, err = startJet(b.folder); err == nil {
		err = t.capture(ctx)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *traffic) close() {
	t.raw.Close()
	_ = t.client.Close() // It reports nothing.
	t.mill.close()
	if t.jet != nil {
		t.jet.close()
	}
}

// newPacket is telemetry of payloadSize bytes.
func newPacket() *leyline.TelemetryPacket {
	packet := &leyline.TelemetryPacket{
		PacketId: "telemetry-00000000-0000-0000-0000-000000000000", SourceSubsystem: "bench",
		Metrics: []*leyline.MetricPoint{{Name: "bench.loss", Value: 0.25, Unit: "count"}},
	}
	packet.SourceSubsystem += strings.Repeat("x", payloadSize-proto.Size(packet)-1) // the length takes one byte more
	return packet
}

// capture publishes one packet and reads it back as the entry it became.
func (t *traffic) capture(ctx context.Context) error {
	if err := t.clear(ctx); err != nil {
		return err
	}
	if err := t.client.PublishTelemetry(ctx, t.packet, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL); err != nil {
		return fmt.Errorf("publish one packet: %w", err)
	}
	found, err := t.raw.Do(ctx, t.raw.B().Xrange().Key(busStream).Start("-").End("+").Build()).AsXRange()
	if err != nil || len(found) != 1 {
		return errors.Join(err, fmt.Errorf("%d entries of one packet", len(found)))
	}
	t.entry = entry{found[0].FieldValues["payload"], found[0].FieldValues["signature"]}
	t.jet.message = t.entry
	return nil
}

// clear removes what the run before has left.
func (t *traffic) clear(ctx context.Context) error {
	if err := t.mill.rest(); err != nil {
		return fmt.Errorf("end subscription: %w", err)
	}
	if err := t.raw.Do(ctx, t.raw.B().Del().Key(busStream).Build()).Error(); err != nil {
		return fmt.Errorf("clear stream: %w", err)
	}
	return t.jet.clear(ctx)
}

// fill puts n entries on the stream.
func (t *traffic) fill(ctx context.Context, n int) error {
	for ; n > 0; n -= busBatch {
		if err := t.addRaw(ctx, min(n, busBatch)); err != nil {
			return fmt.Errorf("fill stream: %w", err)
		}
	}
	return nil
}

func (t *traffic) addRaw(ctx context.Context, n int) error {
	commands := make(rueidis.Commands, n)
	for i := range commands {
		commands[i] = t.addEntry(t.entry)
	}
	return firstError(t.raw.DoMulti(ctx, commands...))
}

// addSigned adds n messages that it encodes and signs, each with a nonce of its own.
func (t *traffic) addSigned(ctx context.Context, n int) error {
	commands := make(rueidis.Commands, n)
	for i := range commands {
		e, err := sealBound(t.keyring, t.packet, busStream)
		if err != nil {
			return err
		}
		commands[i] = t.addEntry(e)
	}
	return firstError(t.raw.DoMulti(ctx, commands...))
}

func (t *traffic) addEntry(e entry) rueidis.Completed {
	return t.raw.B().Xadd().Key(busStream).Maxlen().Almost().Threshold(backlogText).Id("*").
		FieldValue().FieldValue("payload", e.payload).FieldValue("signature", e.signature).Build()
}

const backlogText = "10000000"

// timed returns how many of n a second work does, and its allocations for each.
func timed(n int, work func() error) (rate, allocations float64, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun := time.Now()
	err = work()
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	return float64(n) / took.Seconds(), float64(after.Mallocs-before.Mallocs) / float64(n), err
}

// consumeOurs reads n entries with a trivial handler and returns when the last
// is acknowledged.
func (t *traffic) consumeOurs(ctx context.Context, n int) error {
	fetch, stop := context.WithCancel(ctx)
	defer stop()
	var seen atomic.Int64
	handler := func(context.Context, *oona.Delivery) ([]oona.Message, error) {
		if seen.Add(1) == int64(n) {
			stop()
		}
		return nil, nil
	}
	return t.client.Consume(fetch, ctx, oona.Subscription{
		Stream: busStream, Batch: busBatch,
		Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY: handler},
	})
}

// consumeRaw reads and acknowledges n entries and looks at none of them.
func (t *traffic) consumeRaw(ctx context.Context, n int) error {
	return t.consumeEach(ctx, n, func(map[string]string) error { return nil })
}

// consumeSigned verifies and decodes each of them.
func (t *traffic) consumeSigned(ctx context.Context, n int) error {
	return t.consumeEach(ctx, n, func(fields map[string]string) error {
		return open(t.keyring, fields, new(leyline.TelemetryPacket))
	})
}

func (t *traffic) consumeEach(ctx context.Context, n int, look func(fields map[string]string) error) error {
	if err := createGroup(ctx, t.raw, busStream, "bench"); err != nil {
		return err
	}
	ids := make([]string, 0, busBatch)
	for n > 0 {
		read, err := t.raw.Do(ctx, t.raw.B().Xreadgroup().Group("bench", "raw").Count(busBatch).
			Streams().Key(busStream).Id(">").Build()).AsXRead()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		ids = ids[:0]
		for _, e := range read[busStream] {
			if err := look(e.FieldValues); err != nil {
				return err
			}
			ids = append(ids, e.ID)
		}
		if err := t.raw.Do(ctx, t.raw.B().Xack().Key(busStream).Group("bench").Id(ids...).Build()).Error(); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
		n -= len(ids)
	}
	return nil
}
