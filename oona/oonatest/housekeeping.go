package oonatest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func testReservedShare(t *testing.T, b *bus) {
	budget := oona.NewEmergencyBudget(8)
	one := b.client(func(cfg *oona.Config) { cfg.EmergencyBudget = budget })
	two := b.client(func(cfg *oona.Config) { cfg.EmergencyBudget = budget })
	ctx := context.Background()
	count := func(publish func(c *oona.Client) error) (n int) {
		for i := range 20 {
			err := publish([]*oona.Client{one, two}[i%2])
			if err == nil {
				n++
			} else if !errors.Is(err, oona.ErrRateLimited) {
				t.Fatal(err)
			}
		}
		return n
	}
	packets := count(func(c *oona.Client) error {
		return c.PublishTelemetry(ctx, &leyline.TelemetryPacket{}, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL)
	})
	signals := count(func(c *oona.Client) error { return c.PublishEmergencySignal(ctx, &leyline.EmergencySignal{}) })
	if packets != 6 || signals != 2 {
		t.Errorf("two clients sent %d packets and %d signals of a budget of 8, want 6 and 2", packets, signals)
	}
}

func (b *bus) consumers(stream, group string) []string {
	b.t.Helper()
	replies, err := b.do("XINFO", "CONSUMERS", stream, group).ToArray()
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, reply := range replies {
		info, _ := reply.AsMap()
		field := info["name"]
		name, _ := field.ToString()
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func testPrune(t *testing.T, b *bus) {
	c, ctx := b.client(nil), context.Background()
	b.publish(c, oona.Message{Payload: state("s")})
	if err := c.EnsureGroups(ctx, "g", streams.Normal); err != nil {
		t.Fatal(err)
	}
	b.strand(streams.Normal, "g", "owner")
	for _, name := range []string{"gone", "c"} { // they read and finish
		b.publish(c, oona.Message{Payload: state(name)})
		b.strand(streams.Normal, "g", name)
		entries := b.entries(streams.Normal)
		b.must("XACK", streams.Normal, "g", entries[len(entries)-1].ID)
	}
	if n, err := c.PruneConsumers(ctx, time.Hour); n != 0 || err != nil {
		t.Errorf("pruned %d that were just there: %v", n, err)
	}
	<-time.After(20 * time.Millisecond)
	n, err := c.PruneConsumers(ctx, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.consumers(streams.Normal, "g"); n != 1 || !slices.Equal(got, []string{"c", "owner"}) {
		t.Errorf("pruned %d, left %v", n, got)
	}
	if got := b.pending(streams.Normal, "g"); got != 1 {
		t.Errorf("%d entries are pending, want the 1 of the silent owner", got)
	}
}
