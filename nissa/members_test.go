package nissa

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
)

// What one had in hand is taken over once, and as soon as another would lead in its place.
func TestWhoFallsSilentIsTakenOverOnce(t *testing.T) {
	t.Parallel()
	store, err := runstore.Open(t.Context(), runstore.Config{URL: sqliteURL(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	var taken []string // by the one that is here
	joined := func(name string) *members {
		takeOver := func(of string, _ time.Duration) {
			if name == "here" {
				taken = append(taken, of)
			}
		}
		series := newRecorder(Config{}).series
		return &members{store: runstore.NewJournal(store), name: name, takeOver: takeOver, series: series, now: time.Now}
	}
	here, killed, stopped := joined("here"), joined("killed"), joined("stopped")
	step := func(passed time.Duration, who ...*members) {
		t.Helper()
		for name, seen := range here.seen {
			seen.Since = seen.Since.Add(-passed)
			here.seen[name] = seen
		}
		for _, m := range who {
			if err := m.step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	is := func(want ...string) {
		t.Helper()
		if !slices.Equal(taken, want) {
			t.Errorf("taken over are %q, want %q", taken, want)
		}
	}
	step(0, killed, stopped, here)
	step(time.Second, stopped, here)
	is()
	step(2*time.Second, stopped, here, stopped, here, stopped, here)
	is("killed")
	if err := stopped.leave(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	step(0, here, here)
	is("killed", "stopped")
}
