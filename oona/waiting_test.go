package oona_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
)

// leavePending has a consumer read n states that it never handles.
func leavePending(t *testing.T, server *redistest.Server, consumer string, n int) {
	t.Helper()
	c := connect(t, server.URL, nil)
	publishStates(t, c, n)
	tell(t, server, "XGROUP", "CREATE", "oona.normal", "g", "0")
	tell(t, server, "XREADGROUP", "GROUP", "g", consumer, "COUNT", strconv.Itoa(n), "STREAMS", "oona.normal", ">")
}

// What was in hand meets an outage that nobody can ask for: the consumer is as ready as
// it can be, and goes on when the outage is over.
func TestR29ConsumerIsReadyThoughAllThatWasPendingWaits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	leavePending(t, server, "c", 400)
	l := new(depot)
	l.away.Store(true)
	sub := l.subscription()
	sub.Needs, sub.Batch = nil, 100
	c := connect(t, server.URL, nil)
	begun := launch(t, c, sub)
	select {
	case <-begun:
	case <-time.After(soon):
		t.Fatal("never ready")
	}
	if err := publishState(c, "new"); err != nil {
		t.Fatal(err)
	}
	l.away.Store(false)
	waitFor(t, "all are handled", func() bool { return len(l.all()) == 401 })
}

// A pause that begins while Redis takes its time with a claim must not make a delivery
// of it that nobody sees.
func TestR29PauseDuringAClaimCountsNoDelivery(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	raw := rawClient(t, server.URL)
	do := func(words ...string) string {
		reply, err := raw.Do(context.Background(), raw.B().Arbitrary(words...).Build()).ToString()
		if err != nil {
			t.Error(err)
		}
		return reply
	}
	leavePending(t, server, "c", 150) // two pages
	l := new(depot)
	l.away.Store(true)
	claiming := make(chan struct{})
	sub := l.subscription()
	sub.Concurrency = 1
	var hold sync.Once
	var attempts atomic.Int64
	sub.Wanted = func(d *oona.Delivery) bool {
		// The first page is judged, the second one not claimed yet.
		hold.Do(func() { do("CLIENT", "PAUSE", "60000", "WRITE") })
		return true
	}
	sub.Handlers = stateHandlers(func(id string) error { <-claiming; return l.handle(id) })
	for kind, handle := range sub.Handlers {
		sub.Handlers[kind] = func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
			if !l.away.Load() {
				attempts.Store(max(attempts.Load(), int64(d.Attempt)))
			}
			return handle(ctx, d)
		}
	}
	c := connect(t, server.URL, nil)
	var busy sync.WaitGroup // only a connection that has been shared lets a command be cut off
	for range 50 {
		busy.Go(func() {
			if _, err := c.Stats(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	busy.Wait()
	launch(t, c, sub)
	waitFor(t, "the second claim waits in Redis", func() bool {
		return slices.ContainsFunc(strings.Split(do("CLIENT", "LIST"), "\n"), func(client string) bool {
			return strings.Contains(client, "cmd=xclaim ") && strings.Contains(client, "flags=b")
		})
	})
	close(claiming)
	waitFor(t, "the consumer pauses", func() bool { return len(c.Stalls()) == 1 })
	do("CLIENT", "UNPAUSE")
	l.away.Store(false)
	waitFor(t, "all are handled", func() bool { return len(l.all()) == 150 })
	if n := attempts.Load(); n > 2 {
		t.Errorf("counted as delivery %d, want 2: it was handled once", n)
	}
}

// Who pauses does not take from others what they have taken over meanwhile.
func TestR29PausedConsumerLeavesOthersWhatIsTheirs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := new(depot)
	taken, release := make(chan struct{}, 1), make(chan struct{})
	sub := l.subscription()
	sub.Handlers = stateHandlers(func(id string) error {
		taken <- struct{}{}
		<-release
		return l.handle(id)
	})
	c := connect(t, server.URL, nil)
	start(t, c, sub)
	if err := publishState(c, "x"); err != nil {
		t.Fatal(err)
	}
	<-taken
	raw := rawClient(t, server.URL)
	for id := range pendingIdle(t, raw) {
		tell(t, server, "XCLAIM", "oona.normal", "g", "another", "0", id)
	}
	l.away.Store(true)
	close(release)
	waitFor(t, "the consumer pauses", func() bool { return len(c.Stalls()) == 1 })
	l.away.Store(false)
	waitFor(t, "it goes on", func() bool { return len(c.Stalls()) == 0 })
	if n := ask(t, server, "XPENDING", "oona.normal", "g", "-", "+", "10", "another"); n != "1" {
		t.Errorf("the other one has %s entries in hand, want 1", n)
	}
}

// Nothing is given back in the name of an instance that may not act.
func TestR29NothingIsGivenBackBehindAFence(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var fenced, away atomic.Bool
	var asked atomic.Int64
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.ClaimIdle = time.Hour })
	start(t, c, oona.Subscription{
		Stream: "oona.normal",
		Needs: func(context.Context) error {
			if asked.Add(1); away.Load() {
				return errAway
			}
			return nil
		},
		Fence: func(context.Context) error {
			if fenced.Load() {
				return errors.New("another one has the name")
			}
			return nil
		},
		Handlers: stateHandlers(func(string) error {
			away.Store(true)
			fenced.Store(true)
			return oona.Outage(errAway)
		}),
	})
	if err := publishState(c, "x"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it has asked often for what is away", func() bool { return asked.Load() >= 4 })
	for id, idle := range pendingIdle(t, rawClient(t, server.URL)) {
		if idle >= time.Hour {
			t.Errorf("%s was given back", id)
		}
	}
}

// A pause does not make a consumer forget what a dead one has left.
func TestR29TakeoverGoesOnAfterAPause(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const all = 450
	leavePending(t, server, "dead", all)
	l := new(depot)
	l.away.Store(true)
	sub := l.subscription()
	sub.Concurrency = 1 // three pages are taken in before the first one is done
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.ClaimIdle = time.Hour })
	c.TakeOver("dead", 0)
	launch(t, c, sub)
	waitFor(t, "the consumer pauses", func() bool { return len(c.Stalls()) == 1 })
	l.away.Store(false)
	waitFor(t, "all are handled", func() bool { return len(l.all()) == all })
}
