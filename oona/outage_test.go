package oona_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func TestOutageIsHealedQuietly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	log := &lines{}
	c := connect(t, server.URL, func(cfg *oona.Config) {
		hasty(cfg)
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	handled := make(chan struct{}, 10)
	start(t, c, oona.Subscription{Stream: "oona.normal", Handlers: map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE: func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			handled <- struct{}{}
			return nil, nil
		}}})
	server.Kill()
	down := time.NewTimer(1500 * time.Millisecond) // an outage worth the name
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for waiting := true; waiting; {
		select {
		case <-poll.C:
			_ = c.Ping(context.Background())
		case <-down.C:
			waiting = false
		}
	}
	waitFor(t, "the reading side counts as down", func() bool {
		return c.Health().ConsumeState == leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN
	})
	server.Restart()
	waitFor(t, "publishing works again", func() bool { return publishState(c, "s") == nil })
	waitFor(t, "consuming works again", func() bool { return len(handled) > 0 })
	if n := log.count(); n > 10 {
		t.Errorf("%d log lines for one outage:\n%s", n, strings.Join(log.all, ""))
	}
}

func TestPublishersGetATypedErrorInBoundedTimeAndEmergenciesAreStillTried(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, hasty)
	ctx := context.Background()
	server.Freeze()
	for range 3 {
		begun := time.Now()
		if err := c.Publish(ctx, oona.Message{Payload: &leyline.SystemStatePacket{}}); !errors.Is(err, oona.ErrUnavailable) {
			t.Fatalf("error = %v", err)
		}
		if took := time.Since(begun); took > soon {
			t.Errorf("publish took %v", took)
		}
	}
	waitFor(t, "the breaker is open", func() bool { // until its next probe
		if err := publishState(c, "s"); !errors.Is(err, oona.ErrUnavailable) {
			t.Errorf("open breaker: %v", err)
		}
		h := c.Health()
		return h.PublishState == leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN && h.Conservative
	})
	begun := time.Now()
	err := c.Publish(ctx, oona.Message{Payload: &leyline.EmergencySignal{Origin: "x"}})
	if !errors.Is(err, oona.ErrUnavailable) || time.Since(begun) < 200*time.Millisecond {
		t.Errorf("an emergency was refused untried: %v after %v", err, time.Since(begun))
	}
	server.Thaw()
	waitFor(t, "emergencies pass", func() bool {
		return c.Publish(ctx, oona.Message{Payload: &leyline.EmergencySignal{Origin: "x"}}) == nil
	})
	server.Kill()
	var stats oona.Stats
	waitFor(t, "the breaker refuses", func() bool {
		_ = publishState(c, "s")
		stats, err = c.Stats(ctx)
		return stats.Publishing.Refused > 0
	})
	if err == nil || stats.Publishing.Failed < 3 || !stats.Conservative {
		t.Errorf("stats %+v, error %v", stats, err)
	}
}

func TestOneFailedProbeOpensTheBreakerAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, hasty)
	server.Kill()
	figures := func() (tried, refused int64) {
		stats, _ := c.Stats(context.Background()) // without depths: the bus is down
		return stats.Publishing.Failed, stats.Publishing.Refused
	}
	for range 3 {
		_ = publishState(c, "s")
	}
	probe := func(n int64) (refused int64) {
		waitFor(t, "a probe is let through", func() bool {
			_ = publishState(c, "s")
			tried, _ := figures()
			return tried == n
		})
		_, refused = figures()
		return refused
	}
	first, n := probe(4), int64(5)
	// A machine that holds us up for the pause between two probes shows no refusal.
	for probe(n) == first {
		if n++; n > 9 {
			t.Fatal("nothing was refused between two failed probes: the breaker stayed half open")
		}
	}
}

func TestOutageIsNotTakenForASpentBudget(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) {
		hasty(cfg)
		cfg.EmergencyPerMinute = 1000
	})
	server.Kill()
	for range 5 {
		if err := c.Publish(context.Background(), oona.Message{Payload: &leyline.EmergencySignal{Origin: "x"}}); !errors.Is(err, oona.ErrUnavailable) {
			t.Errorf("error = %v", err)
		}
	}
	stats, _ := c.Stats(context.Background()) // without depths: the bus is down
	if stats.Emergency.Limited.Total() != 0 || stats.Emergency.Limited["x"] != 0 || stats.Publishing.Failed != 5 {
		t.Errorf("stats %+v", stats)
	}
}

// calls returns how often each command was run.
func calls(t *testing.T, server *redistest.Server) map[string]int {
	t.Helper()
	raw := rawClient(t, server.URL)
	info, err := raw.Do(context.Background(), raw.B().Arbitrary("INFO", "commandstats").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for line := range strings.Lines(info) {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		number, _, _ := strings.Cut(rest, ",")
		if n, err := strconv.Atoi(number); found && err == nil {
			counts[strings.ToLower(name)] = n
		}
	}
	return counts
}

func TestIdleConsumerDoesNotScanBeforeEachRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, nil)
	start(t, c, oona.Subscription{Stream: "oona.normal", Block: 5 * time.Millisecond})
	waitFor(t, "it has read often", func() bool { return calls(t, server)["xreadgroup"] >= 50 })
	counts := calls(t, server)
	if scans := counts["xpending"] + counts["xclaim"] + counts["xautoclaim"]; scans > 5 {
		t.Errorf("%d scans for %d reads", scans, counts["xreadgroup"])
	}
}

// endsWithItsWork ends the work of a consumer whose server is silent, and gives no answer
// to whoever stops reading or commits.
func endsWithItsWork(t *testing.T, server *redistest.Server, c *oona.Client, sub oona.Subscription, silence func()) {
	t.Helper()
	t.Cleanup(server.Thaw)
	work, end := context.WithCancel(context.Background())
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- c.Consume(work, work, sub) }()
	silence()
	end()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(soon):
		t.Error("the consumer waits for an answer")
		server.Thaw()
		<-ended
	}
}

// Whose work is over does not wait for what it reads.
func TestReadOfASilentServerEndsWithTheWork(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(config *oona.Config) { config.DialTimeout = time.Hour })
	ready := make(chan struct{})
	endsWithItsWork(t, server, c, oona.Subscription{
		Stream: "oona.normal", Concurrency: 1, Batch: 1, Block: time.Hour, OnReady: func() { close(ready) },
		Handlers: map[leyline.BusMessageType]oona.Handler{},
	}, func() {
		<-ready
		server.Freeze()
	})
}

// A commit to a server that is silent took its whole time after the work was to end: whoever
// waited for less called the consumer one that does not stop.
func TestStopDoesNotWaitForASilentServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.DialTimeout = 5 * soon })
	publishStates(t, c, 1)
	begun, frozen := make(chan struct{}), make(chan struct{})
	handlers := stateHandlers(func(string) error {
		close(begun)
		<-frozen
		return nil
	})
	endsWithItsWork(t, server, c, oona.Subscription{Stream: "oona.normal", Handlers: handlers}, func() {
		<-begun
		server.Freeze()
		close(frozen)
		// Nothing tells that the commit has been sent; one that has not is given up all the same.
		<-time.After(200 * time.Millisecond)
	})
}
