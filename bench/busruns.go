package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// batchPublishers is the concurrency at which batches are published best, by us
// and by the raw peer: one is made while the other is on its way.
const batchPublishers = 2

func (t *traffic) interleavePublish(ctx context.Context) error {
	if !t.table.wants("publish", "publish_p99_us", "publish_allocs") {
		return nil
	}
	many, few := t.pick(50_000, 5000), t.pick(10_000, 1000)
	turns := []turn{
		{ours, func(column string) error { return t.publishRun(ctx, column, many, t.publishOurs) }},
		{raw, func(column string) error { return t.publishRun(ctx, column, many, t.publishRaw) }},
		{rawSigned, func(column string) error { return t.publishRun(ctx, column, many, t.publishSigned) }},
		{watermillPeer, func(column string) error { return t.publishRun(ctx, column, few, t.mill.publish) }},
		{jetstreamPeer, func(column string) error { return t.publishRun(ctx, column, many, t.jet.publish) }},
	}
	return t.interleave(turns, func() error { return t.publishOurs(ctx, 1000) })
}

// publishRun times a stream's worth of messages and then, where it can be
// compared, single ones.
func (t *traffic) publishRun(ctx context.Context, column string, n int, publish func(context.Context, int) error) error {
	if err := t.clear(ctx); err != nil {
		return err
	}
	rate, allocations, err := timed(n, func() error { return publish(ctx, n) })
	if err != nil {
		return err
	}
	t.table.sample("publish", column, rate)
	t.sampleAllocations("publish_allocs", column, allocations)
	one := map[string]func(context.Context) error{
		ours: t.publishOne,
		raw:  func(ctx context.Context) error { return t.addRaw(ctx, 1) },

		rawSigned: func(ctx context.Context) error { return t.addSigned(ctx, 1) },
	}[column]
	if one == nil || !t.table.wants("publish_p99_us") {
		return nil
	}
	took, err := latenciesOf(t.pick(5000, 500), func() error { return one(ctx) })
	if err != nil {
		return err
	}
	t.table.sample("publish_p99_us", column, quantile(took, 0.99))
	return nil
}

// latenciesOf calls one n times and returns how long each took, in microseconds.
func latenciesOf(n int, one func() error) ([]float64, error) {
	took := make([]float64, n)
	for i := range took {
		begun := time.Now()
		if err := one(); err != nil {
			return nil, err
		}
		took[i] = time.Since(begun).Seconds() * 1e6
	}
	return took, nil
}

func (t *traffic) publishOne(ctx context.Context) error {
	return t.client.PublishTelemetry(ctx, t.packet, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL)
}

func (t *traffic) publishOurs(ctx context.Context, n int) error {
	return inBatches(n, func(size int) error {
		messages := make([]oona.Message, size)
		for i := range messages {
			messages[i] = oona.Message{Payload: t.packet}
		}
		return t.client.Publish(ctx, messages...)
	})
}

func (t *traffic) publishRaw(ctx context.Context, n int) error {
	return inBatches(n, func(size int) error { return t.addRaw(ctx, size) })
}

func (t *traffic) publishSigned(ctx context.Context, n int) error {
	return inBatches(n, func(size int) error { return t.addSigned(ctx, size) })
}

// inBatches publishes n messages in batches from batchPublishers goroutines.
func inBatches(n int, publish func(size int) error) error {
	var left atomic.Int64
	left.Store(int64(n))
	failures := make([]error, batchPublishers)
	var publishers sync.WaitGroup
	for i := range batchPublishers {
		publishers.Go(func() {
			for failures[i] == nil {
				rest := left.Add(-busBatch) + busBatch
				if rest <= 0 {
					return
				}
				failures[i] = publish(int(min(rest, busBatch)))
			}
		})
	}
	publishers.Wait()
	return errors.Join(failures...)
}

func (t *traffic) interleaveConsume(ctx context.Context) error {
	if !t.table.wants("consume", "consume_allocs") {
		return nil
	}
	many, few := t.pick(50_000, 5000), t.pick(10_000, 1000)
	turns := []turn{
		{ours, func(column string) error { return t.consumeRun(ctx, column, many, t.fill, t.consumeOurs) }},
		{raw, func(column string) error { return t.consumeRun(ctx, column, many, t.fill, t.consumeRaw) }},
		{rawSigned, func(column string) error { return t.consumeRun(ctx, column, many, t.fill, t.consumeSigned) }},
		{watermillPeer, func(column string) error {
			return t.consumeRun(ctx, column, few, t.mill.publish, t.mill.consume)
		}},
		{jetstreamPeer, func(column string) error {
			return t.consumeRun(ctx, column, many, t.jet.publish, t.jet.consume)
		}},
	}
	return t.interleave(turns, func() error { return nil })
}

// consumeRun fills the stream and times how long it takes to empty it.
func (t *traffic) consumeRun(
	ctx context.Context, column string, n int, fill, consume func(context.Context, int) error,
) error {
	if err := t.clear(ctx); err != nil {
		return err
	}
	if err := fill(ctx, n); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	rate, allocations, err := timed(n, func() error { return consume(ctx, n) })
	if err != nil {
		return err
	}
	t.table.sample("consume", column, rate)
	t.sampleAllocations("consume_allocs", column, allocations)
	return nil
}
