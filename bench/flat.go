package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// fewest is the column of the smallest case, which the larger ones are compared
// with.
const fewest = "fewest"

// burst is one case: so many messages wait on so many streams before the first
// of them is handled.
type burst struct {
	row      string
	messages int
	streams  int
	rounds   int // so that every case takes about as long
}

func sizes() []burst {
	return []burst{
		{"flat_1k_messages_us", 1000, 1, 200},
		{"flat_10k_messages_us", 10_000, 1, 20},
		{"flat_100k_messages_us", 100_000, 1, 2},
		{"flat_1m_messages_us", 1_000_000, 1, 1},
	}
}

func spreads() []burst {
	return []burst{
		{"flat_1_stream_us", 10_000, 1, 20},
		{"flat_2_streams_us", 10_000, 2, 20},
		{"flat_4_streams_us", 10_000, 4, 20},
		{"flat_8_streams_us", 10_000, 8, 20},
	}
}

func flatRows() []row {
	var rows []row
	for _, cases := range [][]burst{sizes(), spreads()} {
		for _, c := range cases {
			rows = append(rows, row{c.row, "us of CPU/message", lower, nil})
		}
	}
	return rows
}

// measureFlat takes the processor time of a message, published and consumed, in
// this process and in Redis.
func measureFlat(ctx context.Context, b *bench) error {
	for _, cases := range [][]burst{sizes(), spreads()} {
		if err := b.interleaveBursts(ctx, cases); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) interleaveBursts(ctx context.Context, cases []burst) error {
	turns := make([]turn, len(cases))
	costs := make(map[string]float64)
	for i, c := range cases {
		if b.quick {
			c.messages, c.rounds = min(c.messages, 10_000), 1
		}
		turns[i] = turn{c.row, func(row string) (err error) {
			costs[row], err = b.costOf(ctx, c)
			return err
		}}
	}
	for i := range b.runs {
		if err := inTurn(i, turns); err != nil {
			return err
		}
		for _, c := range cases {
			b.table.sample(c.row, ours, costs[c.row])
			if c.row != cases[0].row {
				b.table.sample(c.row, fewest, costs[cases[0].row])
			}
		}
	}
	return nil
}

// costOf is the CPU of one message of a burst, in microseconds.
func (b *bench) costOf(ctx context.Context, c burst) (float64, error) {
	h, err := b.newHeld(ctx, c.streams)
	if err != nil {
		return 0, err
	}
	defer h.close()
	if err := h.round(ctx, 5000); err != nil { // warms up
		return 0, err
	}
	begun, err := ownCPU()
	if err != nil {
		return 0, err
	}
	theirs, err := b.redis.running(func() error {
		for range c.rounds {
			if err := h.round(ctx, c.messages); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	ended, err := ownCPU()
	return (float64((ended - begun).Microseconds()) + theirs) / float64(c.rounds*c.messages), err
}

// held is a publisher, and consumers whose handlers wait until all is published.
type held struct {
	client  *oona.Client
	raw     rueidis.Client
	streams []string
	gate    sync.RWMutex
	left    atomic.Int64
	empty   chan struct{} // told when left is 0
	stop    context.CancelFunc
	readers sync.WaitGroup
}

func (b *bench) newHeld(ctx context.Context, streams int) (*held, error) {
	client, err := connectOurs(ctx, b.redis.url)
	if err != nil {
		return nil, err
	}
	h := &held{client: client, empty: make(chan struct{}, 1)}
	if h.raw, err = connect(b.redis.url); err != nil {
		return nil, errors.Join(err, h.client.Close())
	}
	ctx, h.stop = context.WithCancel(ctx)
	for i := range streams {
		stream := fmt.Sprintf("bench.held.%d", i)
		h.streams = append(h.streams, stream)
		h.readers.Go(func() { h.consume(ctx, stream) })
	}
	return h, nil
}

func (h *held) consume(ctx context.Context, stream string) {
	handler := func(context.Context, *oona.Delivery) ([]oona.Message, error) {
		h.gate.RLock()
		defer h.gate.RUnlock()
		if h.left.Add(-1) == 0 {
			h.empty <- struct{}{}
		}
		return nil, nil
	}
	// It fails only when it could never work: then no round ends in time.
	_ = h.client.Consume(ctx, ctx, oona.Subscription{
		Stream: stream, Batch: busBatch,
		Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY: handler},
	})
}

// roundTimeout ends a burst whose messages do not come.
const roundTimeout = 2 * time.Minute

// round publishes n messages, and then lets them be handled.
func (h *held) round(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	h.left.Store(int64(n))
	if err := h.publish(ctx, n); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	select {
	case <-h.empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d of %d messages were not handled: %w", h.left.Load(), n, ctx.Err())
	}
}

func (h *held) publish(ctx context.Context, n int) error {
	h.gate.Lock()
	defer h.gate.Unlock()
	packet := newPacket()
	messages := make([]oona.Message, busBatch)
	for batch := 0; n > 0; batch++ {
		for i := range messages {
			messages[i] = oona.Message{Stream: h.streams[batch%len(h.streams)], Payload: packet}
		}
		if err := h.client.Publish(ctx, messages[:min(n, busBatch)]...); err != nil {
			return err
		}
		n -= busBatch
	}
	return nil
}

func (h *held) close() {
	h.stop()
	h.readers.Wait()
	h.raw.Do(context.Background(), h.raw.B().Del().Key(h.streams...).Build())
	h.raw.Close()
	_ = h.client.Close() // It reports nothing.
}
