package oona_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func TestOutageIsToldInTenLinesHoweverManyStreamsAreRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	log := &lines{}
	c := connect(t, server.URL, func(cfg *oona.Config) {
		hasty(cfg)
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	for _, stream := range oona.DefaultStreams().Names() {
		start(t, c, oona.Subscription{Stream: stream})
	}
	server.Kill()
	waitFor(t, "every reader and the breaker have met the outage", func() bool {
		_ = publishState(c, "x")
		stats, _ := c.Stats(context.Background()) // without depths: the bus is down
		return stats.Consuming.ReadsFailed >= 30 && stats.Publishing.Refused > 0
	})
	server.Restart()
	waitFor(t, "the outage is over", func() bool {
		_ = publishState(c, "x")
		log.mu.Lock()
		defer log.mu.Unlock()
		return slices.ContainsFunc(log.all, func(line string) bool { return strings.Contains(line, "breaker is closed") }) &&
			slices.ContainsFunc(log.all, func(line string) bool { return strings.Contains(line, "the bus goes on") })
	})
	if n := log.count(); n > 10 {
		t.Errorf("%d lines:\n%s", n, strings.Join(log.all, ""))
	}
}

func TestStreamThatIsBrokenShutsNobodyOutOfTheOthers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, nil)
	tell(t, server, "SET", oona.DefaultStreams().Policy, "not a stream")
	for range 5 {
		err := c.Publish(context.Background(), oona.Message{Payload: &leyline.PolicyUpdate{PolicyId: "p"}})
		if !errors.Is(err, oona.ErrUnavailable) {
			t.Fatalf("error = %v", err)
		}
	}
	if err := publishState(c, "x"); err != nil {
		t.Errorf("a state was refused: %v", err)
	}
	server.Kill()
	waitFor(t, "the bus is away, and the breaker is open", func() bool { // until its next probe
		_ = publishState(c, "x")
		return c.Health().PublishState == leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN
	})
}
