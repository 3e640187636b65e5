package oona_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func stateHandlers(handle func(id string) error) map[leyline.BusMessageType]oona.Handler {
	return map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE: func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
			m, _ := d.Payload.(*leyline.SystemStatePacket)
			return nil, handle(m.GetPacketId())
		}}
}

// pendingIdle is since when each pending entry was not touched, by id.
func pendingIdle(t *testing.T, raw rueidis.Client) map[string]time.Duration {
	t.Helper()
	rows, err := raw.Do(t.Context(), raw.B().Arbitrary("XPENDING").Keys("oona.normal").Args("g", "-", "+", "100").Build()).ToArray()
	if err != nil {
		t.Fatal(err)
	}
	idle := make(map[string]time.Duration)
	for _, row := range rows {
		fields, err := row.ToArray()
		if err != nil || len(fields) != 4 {
			t.Fatalf("%d fields, %v", len(fields), err)
		}
		id, _ := fields[0].ToString()
		ms, _ := fields[2].AsInt64()
		idle[id] = time.Duration(ms) * time.Millisecond
	}
	return idle
}

// A claim that ran, and whose reply was lost, leaves the entry ours and just
// touched. The claim is made here in the consumer's name.
func TestLostReplyToAClaimDoesNotChangeTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.RetryBackoff = 600 * time.Millisecond })
	var mu sync.Mutex
	var order []string
	failed := make(chan struct{})
	refuseFirst := sync.OnceValue(func() error { close(failed); return errors.New("later") })
	start(t, c, oona.Subscription{Stream: "oona.normal", Key: func(*oona.Delivery) string { return "seed" },
		Handlers: stateHandlers(func(id string) error {
			mu.Lock()
			defer mu.Unlock()
			select {
			case <-failed:
			default:
				return refuseFirst()
			}
			order = append(order, id)
			return nil
		})})
	for i := 1; i <= 3; i++ {
		if err := publishState(c, strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	<-failed
	raw := rawClient(t, server.URL)
	var first string
	waitFor(t, "all three are handled", func() bool {
		for id := range pendingIdle(t, raw) {
			if first == "" || id < first {
				first = id
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(order) == 0 {
			tell(t, server, "XCLAIM", "oona.normal", "g", "c", "0", first, "JUSTID")
		}
		return len(order) == 3
	})
	if want := []string{"1", "2", "3"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

// While handlers are busy and the queue is full, a retry has to wait, and the
// leases on what is in hand must be renewed all the same.
func TestBusyConsumerKeepsWhatItHasInHand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.ClaimIdle, cfg.RetryBackoff = 2*time.Second, 300*time.Millisecond })
	for i := range 8 {
		if err := publishState(c, strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	var tried atomic.Bool
	busy, release := make(chan struct{}, 8), make(chan struct{})
	start(t, c, oona.Subscription{Stream: "oona.normal", Concurrency: 1, Batch: 1, Handlers: stateHandlers(func(id string) error {
		if id == "0" && !tried.Swap(true) {
			return errors.New("later")
		}
		busy <- struct{}{}
		<-release
		return nil
	})})
	t.Cleanup(func() { close(release) })
	<-busy
	raw := rawClient(t, server.URL)
	longest := make(map[string]time.Duration)
	renewed := make(map[string]bool)
	waitFor(t, "the leases are renewed", func() bool {
		now := pendingIdle(t, raw)
		for id, idle := range now {
			renewed[id] = renewed[id] || idle < longest[id]
			longest[id] = max(longest[id], idle)
		}
		return len(renewed) >= 4 && !slices.Contains(slices.Collect(maps.Values(renewed)), false)
	})
}

func TestEntryRemovedWhileItWaitsForItsRetryIsCountedAndTold(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		log := &lines{}
		c := connect(t, url, func(cfg *oona.Config) {
			cfg.RetryBackoff = 100 * time.Millisecond
			cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		})
		failed := make(chan struct{})
		start(t, c, oona.Subscription{Stream: "oona.normal", Handlers: stateHandlers(func(string) error {
			close(failed)
			raw := rawClient(t, url)
			if err := raw.Do(context.Background(), raw.B().Xtrim().Key("oona.normal").Maxlen().Threshold("0").Build()).Error(); err != nil {
				t.Error(err)
			}
			return errors.New("later")
		})})
		if err := publishState(c, "x"); err != nil {
			t.Fatal(err)
		}
		<-failed
		waitFor(t, "the loss is counted", func() bool {
			stats, err := c.Stats(context.Background())
			return err == nil && stats.Lost() == 1
		})
		waitFor(t, "the loss is told", func() bool { return log.count() > 0 })
		if log.count() != 1 || !strings.Contains(log.all[0], "entries=1") {
			t.Errorf("log %v", log.all)
		}
		if left := pendingIdle(t, rawClient(t, url)); len(left) != 0 {
			t.Errorf("pending %v", left)
		}
	})
}
