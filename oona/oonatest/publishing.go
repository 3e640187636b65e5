package oonatest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// An emergency is no reason to change the way of anything else.
func testEmergencyDivertsNothing(t *testing.T, b *bus) {
	c, ctx := b.client(nil), context.Background()
	for range 5 {
		err := errors.Join(c.Publish(ctx, oona.Message{Payload: &leyline.EmergencySignal{Origin: "x"}}),
			c.PublishTelemetry(ctx, &leyline.TelemetryPacket{}, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL))
		if err != nil {
			t.Fatal(err)
		}
	}
	if c.Health().Conservative {
		t.Error("emergencies began conservative mode")
	}
	b.publish(c, oona.Message{Payload: state("s")}, oona.Message{Payload: request("r")},
		oona.Message{Payload: &leyline.TelemetryPacket{}}, oona.Message{Payload: &leyline.PolicyUpdate{}})
	for _, stream := range []string{streams.Normal, streams.KernelRequests, streams.Telemetry, streams.Policy} {
		if n := len(b.entries(stream)); n != 1 {
			t.Errorf("%d entries on %s", n, stream)
		}
	}
	if n := len(b.entries(streams.Emergency)); n != 10 {
		t.Errorf("%d entries on the emergency stream, 10 emergencies", n)
	}
}

func testFailingHandlersDoNotStopPublishing(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.RetryAttempts = 2 })
	for i := range 20 {
		b.publish(c, oona.Message{Payload: state(strconv.Itoa(i))})
	}
	b.consume(c, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState, failing(newJournal()))})
	b.settled(streams.Normal, "g")
	b.publish(c, oona.Message{Payload: request("r")})
	if err := c.Publish(context.Background(), oona.Message{Payload: &leyline.EmergencySignal{}}); err != nil {
		t.Error(err)
	}
	var stats oona.Stats
	b.eventually("the client has counted what Redis has settled", func() bool {
		var err error
		stats, err = c.Stats(context.Background())
		return err == nil && stats.Consuming.DeadLettered >= 20
	})
	if stats.Publishing.Circuit != 1 || stats.Publishing.Refused != 0 || stats.Conservative {
		t.Errorf("stats %+v", stats)
	}
	if stats.Consuming.Retried != 20 || stats.Consuming.DeadLettered != 20 {
		t.Errorf("%v retries and %v dead letters of 20 messages", stats.Consuming.Retried, stats.Consuming.DeadLettered)
	}
}

// A stream is full of what was read long ago, which is no backlog.
func testSteadyTrafficIsNoBacklog(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.MaxStreamLength = 40 })
	seen := b.noting(c)
	const rounds, each = 20, 10
	for round := range rounds {
		for i := range each {
			b.publish(c, oona.Message{Payload: state(fmt.Sprintf("%d/%d", round, i))})
		}
		b.settled(streams.Normal, "g")
	}
	if n := len(seen.all()); n != rounds*each {
		t.Errorf("%d of %d were handled", n, rounds*each)
	}
}

func testEveryStreamIsBounded(t *testing.T, b *bus) {
	const bound, node = 50, 100 // Redis removes whole nodes only
	c := b.client(func(cfg *oona.Config) { cfg.MaxStreamLength = bound })
	poison := make([]oona.Message, 4*bound)
	for i := range poison {
		poison[i] = oona.Message{Payload: state(strconv.Itoa(i))}
	}
	for _, stream := range streams.Names() {
		for i := range poison {
			poison[i].Stream = stream // nothing that most of them carry
		}
		b.publish(c, poison...)
	}
	b.consume(c, oona.Subscription{Stream: streams.Telemetry})
	b.settled(streams.Telemetry, "g")
	for _, stream := range append(streams.Names(), "oona.deadletter") {
		if n := len(b.entries(stream)); n == 0 || n > bound+node {
			t.Errorf("%s has %d entries, bound %d", stream, n, bound)
		}
	}
}

// What a peer says of its own attempts is not trusted, or even understood.
func testAttemptAttribute(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	for i, attempt := range []string{"", "many", "-1", "99", "1e9"} {
		b.addSigned(streams.Normal, b.envelope(state(strconv.Itoa(i)), map[string]string{"attempt": attempt}))
	}
	b.consume(c, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState,
		func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
			if d.Attempt != 1 {
				t.Errorf("attempt %d for %q", d.Attempt, d.Attributes["attempt"])
			}
			return noting(seen)(ctx, d)
		})})
	b.settled(streams.Normal, "g")
	if len(seen.all()) != 5 || len(b.deadReasons()) != 0 {
		t.Errorf("handled %v, dead letters %v", seen.all(), b.deadReasons())
	}
}

// Anybody can invent a source; that must not fill the memory of who counts.
func testSourcesAreBounded(t *testing.T, b *bus) {
	c, ctx := b.client(nil), context.Background()
	for i := range 200 {
		if err := c.Publish(ctx, oona.Message{Payload: &leyline.EmergencySignal{Origin: fmt.Sprintf("origin-%d", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	names, sum := len(stats.Emergency.Sent), stats.Emergency.Sent.Total()
	if names > 65 || sum != 200 || stats.Emergency.Sent["other"] == 0 {
		t.Errorf("%d sources with %v signals, %v of others", names, sum, stats.Emergency.Sent["other"])
	}
}

func testBudgetRefillsByItself(t *testing.T, b *bus) {
	c, ctx := b.client(func(cfg *oona.Config) { cfg.EmergencyPerMinute = 600 }), context.Background()
	for {
		err := c.Publish(ctx, oona.Message{Payload: &leyline.EmergencySignal{}})
		if errors.Is(err, oona.ErrRateLimited) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("the gauge shows new tokens though nothing is published", func() bool {
		stats, err := c.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return stats.Emergency.Budget.Tokens >= 3
	})
}

func testRetriedAnswerIsNoReplay(t *testing.T, b *bus) {
	c := b.client(nil)
	runs := newJournal()
	for stream, m := range answerKinds() {
		kind := leyline.TypeOf(m)
		b.publish(c, oona.Message{Payload: m})
		b.consume(c, oona.Subscription{Stream: stream, Handlers: handlers(kind,
			func(context.Context, *oona.Delivery) ([]oona.Message, error) {
				if runs.add(stream) < 3 {
					return nil, errDown
				}
				return nil, nil
			})})
		b.settled(stream, "g")
		if n := runs.count(stream); n != 3 {
			t.Errorf("the handler of %s ran %d times", stream, n)
		}
	}
	b.dead()
}
