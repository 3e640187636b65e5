package oona

import (
	"log/slog"
	"testing"
	"time"
)

func TestStreamsOfPeersThatAreGoneDoNotPileUp(t *testing.T) {
	t.Parallel()
	cfg := Config{Logger: slog.New(slog.DiscardHandler)}.withDefaults()
	l := newLoadSampler(nil, cfg, newGuard(cfg, cfg.Logger))
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
