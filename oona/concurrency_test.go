package oona_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
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
