package oona_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// After a deletion the server does not know how far a group is behind. To count
// that means to load entries, and must not hold up everybody else for long.
func TestDeletedEntryDoesNotMakePublishersStopTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	raw := rawClient(t, server.URL)
	const entries = 4000
	ids := fillUnread(t, raw, entries, strings.Repeat("x", 20_000))
	tell(t, server, "XDEL", "oona.telemetry", ids[400])
	tell(t, server, "XREADGROUP", "GROUP", "g", "c", "COUNT", "10", "STREAMS", "oona.telemetry", ">")
	tell(t, server, "CONFIG", "RESETSTAT")
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.MaxStreamLength = entries })
	for range 3 {
		// Whether it is admitted is left to an estimate.
		_ = c.Publish(context.Background(), oona.Message{Payload: &leyline.TelemetryPacket{}})
	}
	if used := evalMicroseconds(t, server); used > 200_000 {
		t.Errorf("scripts held the server up for %d us", used)
	}
	// A server that is slow to say how full a stream is holds no publisher up.
	waitFor(t, "a message of low priority is refused by a stream of which next to nothing is read", func() bool {
		err := c.Publish(context.Background(), oona.Message{
			Payload: &leyline.TelemetryPacket{}, Priority: leyline.MessagePriority_MESSAGE_PRIORITY_LOW})
		return errors.Is(err, oona.ErrOverloaded)
	})
}

// A server that is slow is slow for the readers too: whoever took its silence for
// room would push unread entries out of a full stream.
func TestSlowServerDoesNotOpenAFullStream(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	fillUnread(t, rawClient(t, server.URL), 100, "x")
	tell(t, server, "XGROUP", "CREATECONSUMER", "oona.telemetry", "g", "slow")
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.MaxStreamLength = 100 })
	publish := func() error {
		return c.Publish(context.Background(), oona.Message{Payload: &leyline.TelemetryPacket{}})
	}
	if err := publish(); !errors.Is(err, oona.ErrOverloaded) {
		t.Fatalf("a message for a full stream: %v", err)
	}
	tell(t, server, "CLIENT", "PAUSE", "1500", "ALL")
	if err := publish(); !errors.Is(err, oona.ErrOverloaded) {
		t.Errorf("a message for a full stream of a server that does not answer: %v", err)
	}
}

// A peer that may publish and not look goes by nobody's figures but the server's
// own bound.
func TestPublisherWithoutTheRightToLookIsNotShutOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	fillUnread(t, rawClient(t, server.URL), 100, "x")
	tell(t, server, "XGROUP", "CREATECONSUMER", "oona.telemetry", "g", "slow")
	tell(t, server, "ACL", "SETUSER", "default", "-xinfo")
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.MaxStreamLength = 100 })
	for range 200 {
		if err := c.Publish(context.Background(), oona.Message{Payload: &leyline.TelemetryPacket{}}); err != nil {
			t.Fatal(err)
		}
	}
}

// fillUnread fills the telemetry stream and returns the ids. A group has read one.
func fillUnread(t *testing.T, raw rueidis.Client, n int, payload string) []string {
	t.Helper()
	ids := make([]string, 0, n)
	for len(ids) < n {
		commands := make(rueidis.Commands, min(500, n-len(ids)))
		for i := range commands {
			commands[i] = raw.B().Xadd().Key("oona.telemetry").Id("*").FieldValue().FieldValue("payload", payload).Build()
		}
		for _, reply := range raw.DoMulti(t.Context(), commands...) {
			id, err := reply.ToString()
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
	}
	if err := raw.Do(t.Context(), raw.B().XgroupCreate().Key("oona.telemetry").Group("g").Id("0").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// evalMicroseconds is the time that the server spent in scripts.
func evalMicroseconds(t *testing.T, server *redistest.Server) (sum int) {
	t.Helper()
	raw := rawClient(t, server.URL)
	info, err := raw.Do(t.Context(), raw.B().Info().Section("commandstats").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if !strings.HasPrefix(line, "cmdstat_eval") {
			continue
		}
		_, rest, _ := strings.Cut(line, ",usec=")
		used, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(used)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}
