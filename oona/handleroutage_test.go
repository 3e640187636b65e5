package oona_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

var errAway = errors.New("the library is away")

// depot is something that a handler needs.
type depot struct {
	away  atomic.Bool
	tried atomic.Int64

	mu      sync.Mutex
	handled []string
}

func (l *depot) needs(context.Context) error {
	if l.away.Load() {
		return errAway
	}
	return nil
}

func (l *depot) handle(id string) error {
	l.tried.Add(1)
	if l.away.Load() {
		return oona.Outage(errAway)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handled = append(l.handled, id)
	return nil
}

func (l *depot) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.handled)
}

func (l *depot) subscription() oona.Subscription {
	return oona.Subscription{Stream: "oona.normal", Needs: l.needs, Handlers: stateHandlers(l.handle)}
}

// deliveries is how often Redis counts each pending entry as delivered.
func deliveries(t *testing.T, server *redistest.Server) (counts []int64) {
	t.Helper()
	raw := rawClient(t, server.URL)
	rows, err := raw.Do(t.Context(), raw.B().Arbitrary("XPENDING").Keys("oona.normal").Args("g", "-", "+", "100").Build()).ToArray()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		fields, _ := row.ToArray()
		n, _ := fields[3].AsInt64()
		counts = append(counts, n)
	}
	return counts
}

func publishStates(t *testing.T, c *oona.Client, n int) (ids []string) {
	t.Helper()
	for i := range n {
		ids = append(ids, strconv.Itoa(i))
		if err := publishState(c, ids[i]); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// An outage spends no attempts, whatever it is of and however often it comes.
func TestR29OutageOfWhatAHandlerNeedsSpendsNoAttempts(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]bool{"that can be asked for": true, "that nobody can ask for": false} {
		for _, key := range []func(*oona.Delivery) string{nil, func(*oona.Delivery) string { return "key" }} {
			t.Run(name+", keyed "+strconv.FormatBool(key != nil), func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				c := connect(t, server.URL, func(cfg *oona.Config) { cfg.RetryAttempts, cfg.RetryBackoff = 2, time.Millisecond })
				l := new(depot)
				sub := l.subscription()
				sub.Key = key
				if !asked {
					sub.Needs = nil
				}
				start(t, c, sub)
				var want []string
				for round := range 10 {
					l.away.Store(true)
					tried := l.tried.Load()
					for i := range 20 {
						want = append(want, strconv.Itoa(100*round+i))
						if err := publishState(c, want[len(want)-1]); err != nil {
							t.Fatal(err)
						}
					}
					waitFor(t, "the outage is told", func() bool {
						stalls := c.Stalls()
						return len(stalls) == 1 && stalls[0].Kind == oona.StallNeeds && stalls[0].Cause == errAway.Error()
					})
					if again := l.tried.Load() - tried; asked && again > 16 {
						t.Errorf("%d handlers ran in an outage", again)
					}
					l.away.Store(false)
					waitFor(t, "all are handled", func() bool { return len(l.all()) == len(want) })
				}
				if got := l.all(); key != nil && !slices.Equal(got, want) {
					t.Errorf("handled %v", got)
				}
				if len(c.Stalls()) != 0 || ask(t, server, "XLEN", "oona.deadletter") != "0" {
					t.Errorf("stalls %v, %s dead letters", c.Stalls(), ask(t, server, "XLEN", "oona.deadletter"))
				}
			})
		}
	}
}

func TestR29PausedConsumerGivesBackWhatItHolds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ill, well := new(depot), new(depot)
	ill.away.Store(true)
	name := func(consumer string) func(*oona.Config) {
		return func(cfg *oona.Config) { cfg.Consumer, cfg.ClaimIdle = consumer, 4*time.Second }
	}
	c := connect(t, server.URL, name("ill"))
	start(t, c, ill.subscription())
	want := publishStates(t, c, 30)
	waitFor(t, "the consumer pauses", func() bool { return len(c.Stalls()) == 1 })
	waitFor(t, "no delivery counts as an attempt", func() bool {
		counts := deliveries(t, server)
		return len(counts) > 0 && slices.Max(counts) == 1
	})
	start(t, connect(t, server.URL, name("well")), well.subscription())
	waitFor(t, "another one has handled all", func() bool { return len(well.all()) == len(want) })
	ill.away.Store(false)
	waitFor(t, "the first goes on", func() bool { return len(c.Stalls()) == 0 })
	if n := len(ill.all()); n != 0 {
		t.Errorf("%d were handled twice", n)
	}
}

// A retry that waits while the consumer pauses holds up what is behind it in its key:
// both come back in their order.
func TestR29KeysKeepTheirOrderOverAPause(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.RetryBackoff = time.Minute })
	l := new(depot)
	l.away.Store(true)
	paused := make(chan struct{})
	failOnce := sync.OnceValue(func() error { <-paused; return errors.New("its own fault") })
	sub := l.subscription()
	sub.Key = func(d *oona.Delivery) string {
		m, _ := d.Payload.(*leyline.SystemStatePacket)
		return m.GetPacketId()[:1]
	}
	var failed atomic.Bool
	sub.Handlers = stateHandlers(func(id string) error {
		if id == "a1" && !failed.Swap(true) {
			return failOnce()
		}
		return l.handle(id)
	})
	start(t, c, sub)
	for _, id := range []string{"a1", "a2", "a3", "b1"} {
		if id == "b1" { // which is another key's, and may be taken up before the first
			waitFor(t, "the first is in hand", failed.Load)
		}
		if err := publishState(c, id); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the consumer pauses", func() bool { return len(c.Stalls()) == 1 })
	close(paused)
	waitFor(t, "all is given back", func() bool { return len(deliveries(t, server)) == 4 })
	l.away.Store(false)
	waitFor(t, "all are handled", func() bool { return len(l.all()) == 4 })
	if got := slices.DeleteFunc(l.all(), func(id string) bool { return id == "b1" }); !slices.Equal(got, []string{"a1", "a2", "a3"}) {
		t.Errorf("handled %v", got)
	}
}

// One message whose handler always finds something away does not keep the others.
func TestR29OutageOfOneMessageIsNotTakenForThatOfAll(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.RetryAttempts, cfg.RetryBackoff = 2, time.Millisecond })
	var tried, others atomic.Int64
	start(t, c, oona.Subscription{Stream: "oona.normal", Handlers: stateHandlers(func(id string) error {
		if id == "odd" {
			tried.Add(1)
			return oona.Outage(errAway)
		}
		others.Add(1)
		return nil
	})})
	if err := publishState(c, "odd"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it was tried far more often than what fails by itself", func() bool {
		if err := publishState(c, "other"); err != nil {
			t.Fatal(err)
		}
		return tried.Load() > 20
	})
	waitFor(t, "the others are handled", func() bool { return len(deliveries(t, server)) == 1 })
	if stalls := c.Stalls(); len(stalls) != 0 {
		t.Errorf("stalls %+v", stalls)
	}
	if counts := deliveries(t, server); counts[0] > 2 {
		t.Errorf("%d deliveries are counted", counts[0])
	}
}

// An outage in which nobody can say what is away must not fill the memory.
func TestR29LittleIsReadWhileManyWait(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.RetryBackoff = time.Millisecond })
	l := new(depot)
	l.away.Store(true)
	sub := l.subscription()
	sub.Needs, sub.Batch = nil, 5
	start(t, c, sub)
	const all = 80
	want := publishStates(t, c, all)
	waitFor(t, "those that were read were tried often", func() bool { return l.tried.Load() > all })
	if n := len(deliveries(t, server)); n > 30 {
		t.Errorf("%d were read", n)
	}
	l.away.Store(false)
	waitFor(t, "all are handled", func() bool { return len(l.all()) == len(want) })
}

// What fails by itself is given up, also between outages.
func TestR29AttemptsCountWhatTheMessageDidItself(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.RetryAttempts, cfg.RetryBackoff = 3, time.Millisecond })
	var tried atomic.Int64
	start(t, c, oona.Subscription{Stream: "oona.normal", Handlers: map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE: func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			if tried.Add(1)%2 == 0 {
				return nil, oona.Outage(errAway)
			}
			return nil, errors.New("its own fault")
		}}})
	if err := publishState(c, "x"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it is a dead letter", func() bool { return ask(t, server, "XLEN", "oona.deadletter") == "1" })
	if n := tried.Load(); n != 5 {
		t.Errorf("tried %d times, want 3 failures and 2 outages", n)
	}
}

// Who may not commit is told, and goes on when it may.
func TestR31AnswersThatCannotBeCommittedAreAStall(t *testing.T) {
	t.Parallel()
	for _, right := range []string{"xadd", "xack", "set", "evalsha"} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			server, streams := redistest.Start(t), oona.DefaultStreams()
			tell(t, server, "ACL", "SETUSER", "u", "on", ">pw", "~*", "&*", "+@all", "-"+right)
			if right == "evalsha" {
				tell(t, server, "ACL", "SETUSER", "u", "-eval")
			}
			c := connect(t, "redis://u:pw@"+server.Addr+"/0", func(cfg *oona.Config) { cfg.RetryBackoff = time.Millisecond })
			serve(t, c, ready("r"))
			request(t, connect(t, server.URL, nil), "r")
			waitFor(t, "the stall is told", func() bool {
				stalls := c.Stalls()
				return len(stalls) == 1 && stalls[0].Kind == oona.StallAnswers && stalls[0].Stream == streams.KernelRequests && stalls[0].Cause != ""
			})
			tell(t, server, "ACL", "SETUSER", "u", "+@all")
			waitFor(t, "the answer", func() bool { return ask(t, server, "XLEN", streams.KernelReady) == "1" })
			waitFor(t, "the stall is over", func() bool { return len(c.Stalls()) == 0 })
			if n := ask(t, server, "XLEN", "oona.deadletter"); n != "0" {
				t.Errorf("%s dead letters", n)
			}
		})
	}
}

// The others go on, so that nothing else tells of a handler that never returns.
func TestR31HandlerThatDoesNotReturnIsInHand(t *testing.T) {
	t.Parallel()
	c := connect(t, redistest.Start(t).URL, nil)
	hangs, others := make(chan struct{}), new(atomic.Int64)
	start(t, c, oona.Subscription{Stream: "oona.normal", Handlers: stateHandlers(func(id string) error {
		if id == "hangs" {
			<-hangs
			return nil
		}
		others.Add(1)
		return nil
	})})
	begun := time.Now()
	for _, id := range []string{"hangs", "other"} {
		if err := publishState(c, id); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the other is handled, and the one that hangs alone in hand", func() bool {
		hands := c.Health().InHand
		return others.Load() == 1 && len(hands) == 1 && hands[0].Stream == "oona.normal" && hands[0].Entry != "" && hands[0].Since.After(begun)
	})
	close(hangs)
	waitFor(t, "nothing is in hand", func() bool { return len(c.Health().InHand) == 0 })
}
