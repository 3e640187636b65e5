package oonatest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func testReservedShare(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.EmergencyPerMinute = 8 })
	ctx := context.Background()
	count := func(publish func() error) (n int) {
		for range 20 {
			err := publish()
			if err == nil {
				n++
			} else if !errors.Is(err, oona.ErrRateLimited) {
				t.Fatal(err)
			}
		}
		return n
	}
	packets := count(func() error {
		return c.PublishTelemetry(ctx, &leyline.TelemetryPacket{}, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL)
	})
	signals := count(func() error { return c.Publish(ctx, oona.Message{Payload: &leyline.EmergencySignal{}}) })
	if packets != 6 || signals != 2 {
		t.Errorf("sent %d packets and %d signals of a budget of 8, want 6 and 2", packets, signals)
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
	if n, err := c.Admin().PruneConsumers(ctx, time.Hour); n != 0 || err != nil {
		t.Errorf("pruned %d that were just there: %v", n, err)
	}
	<-time.After(20 * time.Millisecond)
	n, err := c.Admin().PruneConsumers(ctx, 10*time.Millisecond)
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

// lookTimeout is how long a client waits to hear how full a stream is, before it goes
// by what it knows.
const lookTimeout = 500 * time.Millisecond

// lookedInTime returns the figures of a client for which it has seen every stream: a
// look that is late leaves those of the last one.
func (b *bus) lookedInTime(c *oona.Client) (stats oona.Stats) {
	b.t.Helper()
	b.eventually("a look at every stream that is in time", func() bool {
		begun := time.Now()
		var err error
		stats, err = c.Stats(context.Background())
		return err == nil && time.Since(begun) < lookTimeout
	})
	return stats
}

func testTrimmedUnread(t *testing.T, b *bus) {
	// Nodes of one entry: the bound is exact.
	b.must("CONFIG", "SET", "stream-node-max-entries", "1")
	bounded := func(cfg *oona.Config) { cfg.MaxStreamLength = 50 }
	c, ctx := b.client(bounded), context.Background()
	if err := c.EnsureGroups(ctx, "g", streams.Emergency); err != nil {
		t.Fatal(err)
	}
	b.must("XGROUP", "CREATECONSUMER", streams.Emergency, "g", "slow")
	other := b.client(bounded) // another process, which looks as often
	figures := func() (lost, backlog int64) {
		for _, client := range []*oona.Client{c, other, b.client(bounded)} { // and one that has just been started
			stats := b.lookedInTime(client)
			emergency := stats.Streams["emergency"]
			if stats.Lost() != emergency.Lost {
				t.Errorf("stats %+v", stats)
			}
			if lost > 0 && emergency.Lost != lost {
				t.Errorf("one process tells of %v losses, another of %v", lost, emergency.Lost)
			}
			lost, backlog = emergency.Lost, emergency.Backlog
		}
		return lost, backlog
	}
	signals := func(n int) { // nothing holds emergencies up, so they can overrun a reader
		for range n {
			b.publish(c, oona.Message{Payload: &leyline.EmergencySignal{}})
		}
	}
	readAll := func() {
		b.strand(streams.Emergency, "g", "slow")
		for _, e := range b.entries(streams.Emergency) {
			b.must("XACK", streams.Emergency, "g", e.ID)
		}
	}
	check := func(what string, wantLost, wantBacklog int64) {
		if lost, backlog := figures(); lost != wantLost || backlog != wantBacklog {
			t.Errorf("%s: lost %v, backlog %v, want %v and %v", what, lost, backlog, wantLost, wantBacklog)
		}
	}
	check("at first", 0, 0)
	signals(40)
	check("below the bound", 0, 40)
	signals(30)
	check("overrun", 20, 50)
	check("nothing new", 20, 50)
	readAll()
	check("caught up", 20, 0)
	signals(10)
	check("behind again", 20, 10)
	signals(45)
	check("overrun again", 25, 50)
	readAll()
	check("caught up again", 25, 0)
}

func testHistograms(t *testing.T, b *bus) {
	c := b.client(nil)
	b.consume(c, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState,
		func(context.Context, *oona.Delivery) ([]oona.Message, error) { return nil, nil })})
	b.publish(c, oona.Message{Payload: state("1")}, oona.Message{Payload: state("2")}, oona.Message{Payload: request("r")})
	b.settled(streams.Normal, "g")
	counts := func() map[string]uint64 {
		got := make(map[string]uint64)
		for _, h := range c.Histograms() {
			if h.Count() > 0 {
				got[h.Path+" "+h.Stream] = h.Count()
			}
			if len(h.Counts) != len(h.Bounds)+1 || h.Count() > 0 && h.Sum < 0 {
				t.Errorf("histogram = %+v", h)
			}
		}
		return got
	}
	want := map[string]uint64{"publish " + streams.Normal: 2, "publish " + streams.KernelRequests: 1,
		"consume " + streams.Normal: 2, "delivery " + streams.Normal: 2}
	b.eventually("every path is timed", func() bool { return cmp.Equal(want, counts()) })
}
