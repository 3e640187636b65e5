package oonatest

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// strandOften leaves entries behind as if so many processes had died over them.
func (b *bus) strandOften(stream, group, consumer string, deliveries int) {
	b.t.Helper()
	b.must("XGROUP", "CREATE", stream, group, "0")
	b.strand(stream, group, consumer)
	claim := []string{"XCLAIM", stream, group, consumer, "0"}
	for _, e := range b.entries(stream) {
		claim = append(claim, e.ID)
	}
	for range deliveries - 1 {
		b.must(claim...)
	}
}

func testManyKills(t *testing.T, b *bus) {
	c := b.client(nil)
	want := b.requests(c, 20)
	b.strandOften(streams.KernelRequests, "g", "c", 9)
	seen := b.answering(c)
	b.eventually("all are answered", func() bool { return b.answers() == len(want) })
	b.settled(streams.KernelRequests, "g")
	if diff := cmp.Diff(want, seen.all()); diff != "" || len(b.deadReasons()) != 0 {
		t.Errorf("dead letters %v, handled (-want +got):\n%s", b.deadReasons(), diff)
	}
}

func testManyKillsThenErrors(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = 3 })
	b.publish(c, oona.Message{Payload: request("r")})
	b.strandOften(streams.KernelRequests, "g", "c", 5)
	seen := newJournal()
	b.consume(c, oona.Subscription{Stream: streams.KernelRequests, Handlers: handlers(typeRequest, failing(seen))})
	b.settled(streams.KernelRequests, "g")
	if got := b.deadReasons(); seen.count("run") != 3 || !slices.Equal(got, []string{"exhausted"}) {
		t.Errorf("its handler failed %d times, dead letters %v", seen.count("run"), got)
	}
}

// What kills its process is found by trying suspects alone: the others are not
// blamed for what it does.
func testPoisonAmongOthers(t *testing.T, b *bus) {
	const attempts = 2
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = attempts })
	b.publish(c, oona.Message{Payload: request("poison")})
	want := b.requests(c, 20)
	b.strandOften(streams.KernelRequests, "g", "c", attempts)
	seen := newJournal()
	for seen.count("poison") < 2*attempts { // each life of the process ends in its handler
		c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = attempts })
		work, die := context.WithCancel(context.Background())
		answer := answering(seen)
		err := c.Consume(work, work, oona.Subscription{Stream: streams.KernelRequests,
			Handlers: handlers(typeRequest, func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
				r, _ := d.Payload.(*leyline.KernelPrefetchRequest)
				if r.GetRequestId() != "poison" {
					return answer(ctx, d)
				}
				seen.add("poison")
				die()
				return nil, ctx.Err()
			})})
		if err != nil {
			t.Fatal(err)
		}
	}
	b.consume(c, oona.Subscription{Stream: streams.KernelRequests, Handlers: handlers(typeRequest, answering(seen))})
	b.settled(streams.KernelRequests, "g")
	want["poison"] = 2 * attempts
	if diff := cmp.Diff(want, seen.all()); diff != "" || !slices.Equal(b.deadReasons(), []string{"exhausted"}) {
		t.Errorf("dead letters %v, handled (-want +got):\n%s", b.deadReasons(), diff)
	}
}

func testCrashLoop(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = 2 })
	b.publish(c, oona.Message{Payload: request("r")})
	b.strandOften(streams.KernelRequests, "g", "c", 6)
	seen := b.answering(c)
	b.settled(streams.KernelRequests, "g")
	if got := b.deadReasons(); seen.count("r") != 0 || !slices.Equal(got, []string{"exhausted"}) {
		t.Errorf("handled %d times, dead letters %v", seen.count("r"), got)
	}
}
