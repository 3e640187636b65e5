package oona

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
)

func TestRetryPauseDoublesAndStaysBelowTheClaimTime(t *testing.T) {
	t.Parallel()
	cfg := Config{}.withDefaults()
	for attempts, want := range map[int]time.Duration{
		1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 3: time.Second, 8: 30 * time.Second, 1000: 30 * time.Second,
	} {
		if got := retryPause(cfg, attempts); got != want {
			t.Errorf("pause after %d attempts = %v, want %v", attempts, got, want)
		}
	}
	cfg.ClaimIdle = time.Second
	if got := retryPause(cfg, 9); got != 500*time.Millisecond {
		t.Errorf("pause = %v: another consumer would take the entry over", got)
	}
}

func TestRequestThatWaitedForItsRetryIsNotStale(t *testing.T) {
	t.Parallel()
	cfg := Config{FreshnessWindow: time.Minute}.withDefaults()
	published := time.UnixMilli(1_700_000_000_000)
	who := identity{space: spaceRequest, id: "r", dated: true, issued: published}
	late := published.Add(10 * time.Minute)
	if got := who.refuse(cfg, 1, published, late); got != deadletter.ReasonStale {
		t.Errorf("first delivery: %q", got)
	}
	if got := who.refuse(cfg, 2, published, late); got != "" {
		t.Errorf("second delivery: %q", got)
	}
}

func TestAnsweredRemembersItsCapacityAndNotMuchMore(t *testing.T) {
	t.Parallel()
	a := newAnswered(2)
	for _, mark := range []string{"1", "2", "2", "3", "4", "5"} {
		a.remember([]outcome{{mark: mark, id: "e" + mark}}, []int64{commitDone})
	}
	a.remember([]outcome{{mark: "6", id: "e6"}}, []int64{commitLost})
	refused := func(mark, id string) bool {
		j := &job{mark: mark, id: id}
		j.delivery = &j.room
		a.refuse([]*job{j})
		return j.refusal != nil
	}
	if !refused("4", "new") || !refused("5", "new") {
		t.Error("one of the last two is forgotten")
	}
	if refused("5", "e5") {
		t.Error("an entry is taken for its own replay")
	}
	if refused("1", "new") || refused("6", "new") {
		t.Error("remembers what is long gone, or was never done")
	}
}

func TestConservativeModeEndsByItself(t *testing.T) {
	t.Parallel()
	c, now := newCaution(), time.UnixMilli(1_700_000_000_000)
	if c.on(now) {
		t.Fatal("on without a cause")
	}
	c.strained("s", 95, 100, now)
	c.enter(breakerCause)
	c.strained("s", 80, 100, now)
	c.leave(breakerCause, now)
	if !c.on(now.Add(time.Hour)) {
		t.Error("off while the stream is still between the marks")
	}
	c.strained("s", 60, 100, now)
	if !c.on(now.Add(calmFor/2)) || c.on(now.Add(calmFor)) {
		t.Error("it ends once it was calm for a while, not before and not never")
	}
}
