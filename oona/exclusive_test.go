package oona_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// takeExclusively has a consumer take states of one key in, each at its second attempt at the
// earliest, and tells in which order.
func takeExclusively(t *testing.T, url string) (order func() []string) {
	t.Helper()
	var mu sync.Mutex
	var taken []string
	tried := make(map[string]bool)
	heir := connect(t, url, func(cfg *oona.Config) {
		cfg.Consumer, cfg.ClaimIdle, cfg.RetryBackoff = "heir", time.Hour, 20*time.Millisecond
	})
	start(t, heir, oona.Subscription{
		Stream: "oona.normal", Exclusive: true, Key: func(*oona.Delivery) string { return "all" },
		Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE: func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
				mu.Lock()
				defer mu.Unlock()
				m, _ := d.Payload.(*leyline.SystemStatePacket)
				if id := m.GetPacketId(); tried[id] {
					taken = append(taken, id)
					return nil, nil
				}
				tried[m.GetPacketId()] = true
				return nil, errors.New("not at the first attempt")
			}},
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(taken)
	}
}

// Whoever had it in hand, and whether or not that one is known to be dead: what lies first is
// taken first.
func TestExclusiveConsumerTakesWhatIsPendingBeforeWhatIsNew(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		var want []string
		for i := range 5 {
			want = append(want, fmt.Sprint("state-", i))
			leaveInHand(t, url, fmt.Sprint("departed-", i%3), want[i])
		}
		peer := connect(t, url, nil)
		for i := range 5 {
			want = append(want, fmt.Sprint("new-", i))
			if err := publishState(peer, want[5+i]); err != nil {
				t.Fatal(err)
			}
		}
		order := takeExclusively(t, url)
		waitFor(t, "all are taken", func() bool { return len(order()) == len(want) })
		if got := order(); !slices.Equal(got, want) {
			t.Errorf("taken as %v", got)
		}
	})
}

// blocked is how many clients wait on a server for something to read.
func blocked(t *testing.T, server *redistest.Server) int {
	t.Helper()
	info, err := answer(t, server, "INFO", "clients").ToString()
	if err != nil {
		t.Fatal(err)
	}
	var count int
	_, line, _ := strings.Cut(info, "blocked_clients:")
	if _, err := fmt.Sscan(line, &count); err != nil {
		t.Fatal(err)
	}
	return count
}

// A read of one who worked before may still wait on the server: it is answered first.
func TestExclusiveConsumerTakesWhatALateReadOfAnotherGot(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var deposed atomic.Bool
	start(t, connect(t, server.URL, func(cfg *oona.Config) { cfg.Consumer = "deposed" }), oona.Subscription{
		Stream: "oona.normal", Block: time.Minute,
		Fence: func(context.Context) error {
			if deposed.Load() {
				return errors.New("another works by now")
			}
			return nil
		},
	})
	waitFor(t, "one reads", func() bool { return blocked(t, server) == 1 })
	deposed.Store(true)
	order := takeExclusively(t, server.URL)
	waitFor(t, "both read", func() bool { return blocked(t, server) == 2 })
	peer := connect(t, server.URL, nil)
	want := []string{"first", "second"}
	for _, id := range want {
		if err := publishState(peer, id); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "both are taken", func() bool { return len(order()) == 2 })
	if got := order(); !slices.Equal(got, want) {
		t.Errorf("taken as %v", got)
	}
}
