package oona

import (
	"testing"
	"time"
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
	if got := who.refuse(cfg, 1, published, late); got != ReasonStale {
		t.Errorf("first delivery: %q", got)
	}
	if got := who.refuse(cfg, 2, published, late); got != "" {
		t.Errorf("second delivery: %q", got)
	}
}

func TestAnsweredForgetsTheOldestFirst(t *testing.T) {
	t.Parallel()
	a := newAnswered(2)
	for _, mark := range []string{"1", "2", "2", "3"} {
		a.remember([]outcome{{mark: mark, id: "e" + mark}}, []int64{commitDone})
	}
	a.remember([]outcome{{mark: "4", id: "e4"}}, []int64{commitLost})
	again := []*job{{mark: "1", id: "new", room: Delivery{}}, {mark: "2", id: "e2"}, {mark: "3", id: "new"}, {mark: "4", id: "new"}}
	for _, j := range again {
		j.delivery = &j.room
	}
	a.refuse(again)
	for i, refused := range []bool{false, false, true, false} {
		if (again[i].refusal != nil) != refused {
			t.Errorf("%s for entry %s: refusal %+v", again[i].mark, again[i].id, again[i].refusal)
		}
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
