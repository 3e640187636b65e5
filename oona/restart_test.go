package oona_test

import (
	"context"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// A Redis that replays its log forgets how much a group has read. That is no loss.
func TestR12RestartOfRedisIsNoLoss(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.AOF()...)
	ctx := context.Background()
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.MaxStreamLength = 1000 })
	raw := rawClient(t, server.URL)
	stream := oona.DefaultStreams().Telemetry
	const entries = 500
	fillUnread(t, raw, entries, "x")
	lost := func() int64 {
		t.Helper()
		figures, err := c.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return figures.Lost()
	}
	tell(t, server, "XREADGROUP", "GROUP", "g", "c", "COUNT", "1000", "STREAMS", stream, ">")
	if got := lost(); got != 0 {
		t.Fatalf("%v lost before the restart", got)
	}
	server.Restart()
	waitFor(t, "the bus is back", func() bool { return c.Ping(ctx) == nil })
	// A reader tries, as all do, and a publisher looks.
	_ = answer(t, server, "XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", stream, ">") // nothing is new
	for range 3 {
		if got := lost(); got != 0 {
			t.Errorf("%v lost by a restart", got)
		}
	}
	// What comes afterwards is read, and no loss either.
	for range 20 {
		if err := c.Publish(ctx, oona.Message{Payload: &leyline.TelemetryPacket{}}); err != nil {
			t.Fatal(err)
		}
	}
	tell(t, server, "XREADGROUP", "GROUP", "g", "c", "COUNT", "1000", "STREAMS", stream, ">")
	if got := lost(); got != 0 {
		t.Errorf("%v lost after the restart", got)
	}
	// A loss is one all the same.
	fill := time.Now()
	for range 3 * entries {
		tell(t, server, "XADD", stream, "MAXLEN", "100", "*", "payload", "x")
	}
	if got := lost(); got == 0 {
		t.Errorf("nothing lost of %d entries of which 100 are left, within %v", 3*entries, time.Since(fill))
	}
}
