package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// millPublishers is the concurrency at which Watermill publishes best: each
// message is a round trip of its own.
const millPublishers = 50

// mill carries messages of the same size over Watermill's Redis Streams driver,
// unsigned, as it is meant to be used.
type mill struct {
	addr       string
	client     *redis.Client
	payload    []byte
	subscriber *redisstream.Subscriber // of the run before; nil: none
}

func newMill(addr string) *mill {
	return &mill{addr: addr, client: newMillClient(addr), payload: make([]byte, payloadSize)}
}

func newMillClient(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, PoolSize: millPublishers + 2})
}

func (m *mill) close() {
	_ = m.rest()         // Nothing waits for it.
	_ = m.client.Close() // likewise
}

// rest ends the subscription of the run before. That takes a while and is not
// part of a run.
func (m *mill) rest() error {
	if m.subscriber == nil {
		return nil
	}
	err := m.subscriber.Close()
	m.subscriber = nil
	return err
}

func (m *mill) publish(_ context.Context, n int) error {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: m.client}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("make publisher: %w", err)
	}
	var left atomic.Int64
	left.Store(int64(n))
	failures := make([]error, millPublishers)
	var workers sync.WaitGroup
	for i := range millPublishers {
		workers.Go(func() {
			for failures[i] == nil && left.Add(-1) >= 0 {
				failures[i] = publisher.Publish(busStream, message.NewMessage(watermill.NewUUID(), m.payload))
			}
		})
	}
	workers.Wait()
	return errors.Join(failures...)
}

func (m *mill) consume(ctx context.Context, n int) error {
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        newMillClient(m.addr), // it closes its client
		ConsumerGroup: "mill", OldestId: "0", DisableIndefiniteInitialBlock: true,
	}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("make subscriber: %w", err)
	}
	m.subscriber = subscriber
	messages, err := subscriber.Subscribe(ctx, busStream)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for range n {
		select {
		case received, open := <-messages:
			if !open {
				return errors.New("subscription ended")
			}
			received.Ack()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
