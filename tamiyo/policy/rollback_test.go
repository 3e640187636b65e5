package policy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

// twoActivated is a store in which the second policy decides, after the first.
func twoActivated(t *testing.T, shelf *shelf, clock *clock) *Store {
	t.Helper()
	store := openStore(t, Config{Dir: t.TempDir(), Fetch: shelf.fetch, Share: shelf.share})
	for i, version := range []string{"v1", "v2"} {
		payload := networkOf(t, float32(i+1), network.Features)
		clock.take(t, store, version, payload)
		for _, action := range []journal.Action{journal.ToShadow, journal.Activate} {
			if err := clock.act(t, store, action, payload); err != nil {
				t.Fatal(err)
			}
		}
	}
	want(t, store, "v2", "")
	return store
}

// A rollback is asked for in need: it waits for nothing, and goes back to what can be read.
func TestRollbackGoesThroughWhateverIsAway(t *testing.T) {
	away := errors.New("the library is away")
	lose := func(t *testing.T, store *Store, digests ...string) {
		t.Helper()
		for _, digest := range digests {
			if err := os.Remove(filepath.Join(payloads.Folder(store.config.Dir), digest)); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := payloads.Digest(networkOf(t, 1, network.Features))
	for name, row := range map[string]struct {
		before func(t *testing.T, store *Store, shelf *shelf)
		active string
	}{
		"the library is away": {func(_ *testing.T, _ *Store, shelf *shelf) { shelf.away = away }, "v1"},
		"the payload lies in the library alone": {func(t *testing.T, store *Store, _ *shelf) {
			t.Helper()
			lose(t, store, first)
		}, "v1"},
		"the payload is nowhere": {func(t *testing.T, store *Store, shelf *shelf) {
			t.Helper()
			shelf.payloads = nil
			lose(t, store, first)
		}, ""},
		"the payload is out of reach": {func(t *testing.T, store *Store, shelf *shelf) {
			t.Helper()
			shelf.away = away
			lose(t, store, first)
		}, ""},
		"what stands in the shadow is out of reach": {func(t *testing.T, store *Store, shelf *shelf) {
			t.Helper()
			shadow := networkOf(t, 3, network.Features)
			clock := &clock{time.Now().Add(-10 * time.Second)}
			clock.take(t, store, "v3", shadow)
			if err := clock.act(t, store, journal.ToShadow, shadow); err != nil {
				t.Fatal(err)
			}
			shelf.away = away
			lose(t, store, payloads.Digest(shadow))
		}, "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			shelf := new(shelf)
			store := twoActivated(t, shelf, &clock{time.Now().Add(-time.Minute)})
			row.before(t, store, shelf)
			clock := &clock{time.Now().Add(-5 * time.Second)}
			if err := clock.act(t, store, journal.RollBack, nil); err != nil {
				t.Fatal(err)
			}
			if active, _ := store.Deciding(); row.active == "" && active != nil || row.active != "" && active.Version() != row.active {
				t.Errorf("%v decides, want %q", active, row.active)
			}
		})
	}
}

// A stop is no reason to take the rules for all that can be read.
func TestRollbackThatIsStoppedChangesNothing(t *testing.T) {
	shelf := new(shelf)
	store := twoActivated(t, shelf, &clock{time.Now().Add(-time.Minute)})
	ctx, end := context.WithCancel(t.Context())
	end()
	err := store.Accept(ctx, update("operator", "", time.Now(), ""), journal.RollBack.Attributes(""))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	want(t, store, "v2", "")
}

// Who activates what decides already changes nothing that a rollback would have to take back.
func TestRollbackGoesBehindAPolicyThatWasActivatedTwice(t *testing.T) {
	clock := &clock{time.Now().Add(-time.Minute)}
	store := twoActivated(t, new(shelf), clock)
	second := networkOf(t, 2, network.Features)
	for _, action := range []journal.Action{journal.ToShadow, journal.Activate} {
		if err := clock.act(t, store, action, second); err != nil {
			t.Fatal(err)
		}
	}
	want(t, store, "v2", "")
	for _, active := range []string{"v1", ""} {
		if err := clock.act(t, store, journal.RollBack, nil); err != nil {
			t.Fatal(err)
		}
		want(t, store, active, "")
	}
}
