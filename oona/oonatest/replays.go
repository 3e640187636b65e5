package oonatest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func testSpaces(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	b.publish(c, oona.Message{Payload: &leyline.KernelArtifactError{RequestId: "r"}})
	b.publish(c, oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: "r"}})
	b.publish(c, oona.Message{Payload: &leyline.KernelArtifactReady{}}, oona.Message{Payload: &leyline.KernelArtifactReady{}})
	b.consume(c, oona.Subscription{Stream: streams.KernelErrors, Handlers: handlers(typeError, counting(seen))})
	b.consume(c, oona.Subscription{Stream: streams.KernelReady, Handlers: handlers(typeReady, counting(seen))})
	b.settled(streams.KernelErrors, "g")
	b.settled(streams.KernelReady, "g")
	b.same("handled", map[string]int{typeError.String(): 1, typeReady.String(): 3}, seen.all())
}

func testReplay(t *testing.T, b *bus) {
	seen := newJournal()
	sub := oona.Subscription{Stream: streams.KernelRequests, Handlers: handlers(typeRequest, answering(seen))}
	c := b.client(nil)
	stop := b.consume(c, sub)
	b.publish(c, oona.Message{Payload: request("r")})
	b.settled(streams.KernelRequests, "g")
	first := b.entries(streams.KernelRequests)[0].FieldValues
	replay := func() { b.add(streams.KernelRequests, "payload", first["payload"], "signature", first["signature"]) }
	replay()
	b.publish(c, oona.Message{Payload: request("r")}) // the same id, newly dated
	b.settled(streams.KernelRequests, "g")
	stop()
	replay()
	restarted := b.client(nil)
	b.consume(restarted, sub)
	b.settled(streams.KernelRequests, "g")
	if seen.count("r") != 1 || b.answers() != 1 {
		t.Errorf("handled %d times, answered %d times", seen.count("r"), b.answers())
	}
	b.dead("replay", "replay", "replay")
}

func testSameBatch(t *testing.T, b *bus) {
	c := b.client(nil)
	b.publish(c, oona.Message{Payload: request("r")}, oona.Message{Payload: request("r")}, oona.Message{Payload: request("q")})
	seen := b.answering(c)
	b.settled(streams.KernelRequests, "g")
	if diff := cmp.Diff(map[string]int{"r": 1, "q": 1}, seen.all()); diff != "" || b.answers() != 2 {
		t.Errorf("%d answers, handled (-want +got):\n%s", b.answers(), diff)
	}
	b.dead("replay")
}

func testRetryIsNoReplay(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	answer := answering(newJournal())
	flaky := func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
		if seen.add("run") < 3 {
			return nil, errors.New("catalogue is down")
		}
		return answer(ctx, d)
	}
	b.publish(c, oona.Message{Payload: request("r")})
	b.consume(c, oona.Subscription{Stream: streams.KernelRequests, Handlers: handlers(typeRequest, flaky)})
	b.settled(streams.KernelRequests, "g")
	if seen.count("run") != 3 || b.answers() != 1 || len(b.deadReasons()) != 0 {
		t.Errorf("runs %d, answers %d, dead letters %v", seen.count("run"), b.answers(), b.deadReasons())
	}
	stats, err := c.Stats(context.Background())
	if err != nil || stats.Consuming.Retried != 2 || stats.Consuming.Replayed != 0 {
		t.Errorf("stats %+v, error %v", stats, err)
	}
}

func testFreshness(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.FreshnessWindow, cfg.ClockSkew = time.Minute, time.Second })
	at := func(id string, age time.Duration) *leyline.KernelPrefetchRequest {
		return &leyline.KernelPrefetchRequest{RequestId: id, IssuedAt: timestamppb.New(time.Now().Add(-age))}
	}
	for _, r := range []*leyline.KernelPrefetchRequest{
		at("old", 5*time.Minute), at("future", -time.Minute), at("", 0), {RequestId: "undated"}, at("good", 0),
	} {
		b.publish(c, oona.Message{Payload: r})
	}
	seen := b.answering(c)
	b.settled(streams.KernelRequests, "g")
	b.same("handled", map[string]int{"good": 1}, seen.all())
	b.dead("future", "missing_id", "stale", "stale")
}
