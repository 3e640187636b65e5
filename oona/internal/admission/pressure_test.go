package admission

import (
	"log/slog"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestStreamsOfPeersThatAreGoneDoNotPileUp(t *testing.T) {
	t.Parallel()
	l := newSampler(Config{Logger: slog.New(slog.DiscardHandler)}, newConservative(), nil)
	gone, used := l.of("gone"), l.of("used")
	gone.sampled, used.sampled = time.Now().Add(-2*deadAfter), time.Now()
	for _, stream := range []string{"gone", "used"} {
		l.losses.places[groupKey{stream, "g"}] = place{}
		l.losses.added[stream] = 1
		l.losses.tell("lost", groupKey{stream, "g"}, 1, time.Now())
	}
	l.of("new")
	if l.streams["gone"] != nil || l.streams["used"] == nil {
		t.Errorf("streams %v: that of the peer that is gone must go", l.streams)
	}
	if len(l.losses.places) != 1 || len(l.losses.added) != 1 || len(l.losses.told) != 1 {
		t.Errorf("losses %v, %v, %v", l.losses.places, l.losses.added, l.losses.told)
	}
}

func TestTrainerThatMayNotLookAtAStreamIsNotTurnedAway(t *testing.T) {
	t.Parallel()
	load := &streamLoad{blind: time.Now().Add(time.Hour), backlog: 1 << 40}
	l := &sampler{bound: 10, streams: map[string]*streamLoad{"s": load}, losses: newTrimLosses(slog.New(slog.DiscardHandler))}
	if !l.admit(t.Context(), "s", leyline.MessagePriority_MESSAGE_PRIORITY_LOW) {
		t.Error("turned away by what it cannot know")
	}
}

func TestConservativeModeEndsByItself(t *testing.T) {
	t.Parallel()
	c, now := newConservative(), time.UnixMilli(1_700_000_000_000)
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

// After a restart Redis says of every consumer that it has just tried something.
func TestR20GroupThatWasFinishedStaysSoThoughRedisForgets(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	var group life
	see := func(after, idle time.Duration, alive bool) {
		t.Helper()
		now = now.Add(after)
		if group = group.look(idle, now); group.dead == alive {
			t.Errorf("silent for %v: dead is %v", idle, group.dead)
		}
	}
	see(0, time.Second, true)
	see(time.Minute, deadAfter-time.Second, true)
	see(time.Second, deadAfter, false)
	see(time.Minute, 2*time.Second, false) // restarted
	see(time.Second, 3*time.Second, false)
	see(time.Minute, time.Minute+3*time.Second, false)
	see(deadAfter, time.Second, false)    // restarted again
	see(5*time.Second, time.Second, true) // it reads
	see(deadAfter, deadAfter, false)
}
