package oonatest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// seekers wait for answers by request id.
type seekers struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
	looked  int // answers that were held against those that are waited for
}

func newSeekers() *seekers { return &seekers{waiting: make(map[string]chan struct{})} }

func (s *seekers) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) > 0
}

func (s *seekers) seek(id string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(chan struct{})
	s.waiting[id] = found
	return found
}

func (s *seekers) wanted(d *oona.Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked++
	m, _ := d.Payload.(*leyline.KernelArtifactReady)
	_, waits := s.waiting[m.GetRequestId()]
	return waits
}

func (s *seekers) looks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looked
}

func (s *seekers) handle(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, _ := d.Payload.(*leyline.KernelArtifactReady)
	if found, waits := s.waiting[m.GetRequestId()]; waits {
		close(found)
		delete(s.waiting, m.GetRequestId())
	}
	return nil, nil
}

func (s *seekers) subscription(demand *oona.Demand) oona.Subscription {
	return oona.Subscription{
		Stream: streams.KernelReady, Demand: demand, Wanted: s.wanted,
		Handlers: handlers(typeReady, s.handle),
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func ready(id string) oona.Message {
	return oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: id}}
}

// A reader that rests and one that is raised change places all the time here,
// and each answer comes the moment after it was asked for.
func testRestingReaderMissesNoAnswer(t *testing.T, b *bus) {
	const seekersAtOnce, rounds = 3, 60
	c, s := b.client(nil), newSeekers()
	demand := oona.NewDemand(s.any, nil)
	b.consume(c, s.subscription(demand))
	var asking sync.WaitGroup
	for seeker := range seekersAtOnce {
		asking.Go(func() {
			for round := range rounds {
				id := fmt.Sprintf("%d/%d", seeker, round)
				found := s.seek(id)
				demand.Raise()
				if err := c.Publish(t.Context(), ready("stranger's "+id), ready(id)); err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), patient)
				select {
				case <-found:
				case <-ctx.Done():
					t.Errorf("answer %s was never read", id)
				}
				cancel()
			}
		})
	}
	asking.Wait()
	b.settled(streams.KernelReady, "g")
	stats, err := c.Stats(t.Context())
	if err != nil || stats.Consuming.ReadsFailed != 0 {
		t.Errorf("%v reads failed, %v", stats.Consuming.ReadsFailed, err)
	}
}

func testNobodyWaits(t *testing.T, b *bus) {
	const strangers = 50
	c, s := b.client(nil), newSeekers()
	demand := oona.NewDemand(s.any, nil)
	b.consume(c, s.subscription(demand))
	for n := range strangers {
		b.publish(c, ready(fmt.Sprint(n)))
	}
	entries := b.entries(streams.KernelReady)
	demand.Raise() // in vain: it looks, and skips
	b.eventually("the group is past what nobody waits for", func() bool {
		groups, err := b.do("XINFO", "GROUPS", streams.KernelReady).ToArray()
		if err != nil || len(groups) != 1 {
			return false
		}
		group, err := groups[0].AsMap()
		if err != nil {
			return false
		}
		last, lag, pending := group["last-delivered-id"], group["lag"], group["pending"]
		at, _ := last.ToString()
		behind, err := lag.AsInt64()
		held, _ := pending.AsInt64()
		return at == entries[len(entries)-1].ID && err == nil && behind == 0 && held == 0
	})
	if n := s.looks(); n != 0 {
		t.Errorf("%d of %d strangers' answers were read", n, strangers)
	}
	found := s.seek("mine")
	demand.Raise()
	b.publish(c, ready("mine"))
	b.eventually("the answer that somebody waits for", func() bool { return closed(found) })
}

// Two readers share a group, and the one that asked is gone: the sign that it left
// keeps the others from skipping the answer.
func testSomebodyElseWaits(t *testing.T, b *bus) {
	publisher, s := b.client(nil), newSeekers()
	records := publisher.Records(func(run string) string { return "oona.run." + run })
	nobody := func() bool { return false }
	elsewhere := func(ctx context.Context) (bool, error) { return records.Awaited(ctx, "part") }
	for range 2 {
		b.consume(b.client(nil), s.subscription(oona.NewDemand(nobody, elsewhere)))
	}
	b.publish(publisher, ready("stranger"))
	if awaited, err := records.Awaited(t.Context(), "part"); err != nil || awaited {
		t.Fatalf("awaited before anybody waits: %v, %v", awaited, err)
	}
	if err := records.Await(t.Context(), "part", time.Minute); err != nil {
		t.Fatal(err)
	}
	found := s.seek("mine")
	b.publish(publisher, ready("mine"))
	b.eventually("a reader of the group has the answer", func() bool { return closed(found) })
}
