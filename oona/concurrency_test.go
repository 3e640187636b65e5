package oona_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Neither a handler that takes its time nor one that fails and is tried again may
// make room for one more beside the others.
func TestNoMoreHandlersRunAtOnceThanWereAllowed(t *testing.T) {
	t.Parallel()
	const allowed, states = 3, 60
	c := connect(t, redistest.Start(t).URL, func(cfg *oona.Config) { cfg.RetryBackoff = time.Millisecond })
	for n := range states {
		if err := publishState(c, fmt.Sprint("state-", n)); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	running, most, tried := 0, 0, map[string]int{}
	enter := func(id string) (attempt int) {
		mu.Lock()
		defer mu.Unlock()
		running++
		most = max(most, running)
		tried[id]++
		return tried[id]
	}
	start(t, c, oona.Subscription{Stream: "oona.normal", Concurrency: allowed, Handlers: stateHandlers(func(id string) error {
		attempt := enter(id)
		<-time.After(time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		running--
		if attempt == 1 {
			return errors.New("not yet")
		}
		return nil
	})})
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	done := func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, attempts := range tried {
			if attempts < 2 {
				return false
			}
		}
		return len(tried) == states
	}
	for deadline := time.Now().Add(20 * time.Second); !done(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s: %v", tried)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most > allowed {
		t.Errorf("%d handlers ran at once, %d were allowed", most, allowed)
	}
}

// What is decoded of large messages must not fill the memory while handlers take their
// time: 8 MiB of them are handled at once.
func TestLargeMessagesWaitForEachOther(t *testing.T) {
	t.Parallel()
	const messages, room = 100, 8 << 20
	c := connect(t, redistest.Start(t).URL, nil)
	packet := telemetry.New("large", "large")
	for n := range 4000 {
		packet.Metric(fmt.Sprint(strings.Repeat("n", 40), n), 1, "")
	}
	large := packet.Build()
	for range messages {
		if err := c.Publish(t.Context(), oona.Message{Payload: large}); err != nil {
			t.Fatal(err)
		}
	}
	most := int64(room / proto.Size(large))
	var running, peak, handled atomic.Int64
	hold := make(chan struct{})
	handle := func(context.Context, *oona.Delivery) ([]oona.Message, error) {
		now := running.Add(1)
		for old := peak.Load(); now > old && !peak.CompareAndSwap(old, now); old = peak.Load() {
			continue
		}
		<-hold
		running.Add(-1)
		handled.Add(1)
		return nil, nil
	}
	start(t, c, oona.Subscription{Stream: "oona.telemetry", Batch: messages, Concurrency: messages, Handlers: map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY: handle,
	}})
	still, before := 0, int64(0)
	waitFor(t, "as many are handled as there is room for", func() bool {
		now := running.Load()
		if still++; now != before || now <= most/2 {
			still, before = 0, now
		}
		return still > 20
	})
	close(hold)
	waitFor(t, "all are handled", func() bool { return handled.Load() == messages })
	if peak.Load() > most {
		t.Errorf("%d messages of %d bytes were handled at once", peak.Load(), proto.Size(large))
	}
}
