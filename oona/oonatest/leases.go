package oonatest

import (
	"context"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona"
)

func testLease(t *testing.T, b *bus) {
	const idle = 3 * time.Second // a machine may hold a renewal up for more than one
	runs := newJournal()
	answer := answering(newJournal())
	sub := oona.Subscription{Stream: streams.KernelRequests,
		Handlers: handlers(typeRequest, func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
			runs.add("begun")
			<-time.After(idle + idle/2) // a handler that takes its time
			return answer(ctx, d)
		})}
	for _, name := range []string{"one", "two"} {
		c := b.client(func(cfg *oona.Config) { cfg.Consumer, cfg.ClaimIdle = name, idle })
		b.consume(c, sub)
		if name == "one" {
			b.publish(c, oona.Message{Payload: request("r")})
		}
	}
	b.eventually("it is answered", func() bool { return b.answers() == 1 })
	if n := runs.count("begun"); n != 1 {
		t.Errorf("handled %d times", n)
	}
}

func testUnstorable(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = 1000 })
	b.must("SET", streams.KernelReady, "not a stream")
	b.publish(c, oona.Message{Payload: request("r")})
	seen := b.answering(c)
	b.eventually("its answer was refused twice", func() bool { return seen.count("r") >= 2 })
	b.must("DEL", streams.KernelReady)
	b.eventually("it is answered", func() bool { return b.answers() == 1 })
	b.settled(streams.KernelRequests, "g")
	if b.answers() != 1 || len(b.deadReasons()) != 0 {
		t.Errorf("%d answers, dead letters %v", b.answers(), b.deadReasons())
	}
}
