package policy

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/tamiyo/policy/inspect"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

// A fleet whose library has lost a payload agrees on what is in force all the same.
func TestForceIsLearntWithoutAPayloadThatIsNowhere(t *testing.T) {
	shelf, clock := new(shelf), &clock{time.Now().Add(-time.Minute)}
	leader := openStore(t, Config{Share: shelf.share})
	other := openStore(t, Config{Fetch: shelf.fetch})
	first := networkOf(t, 1, network.Features)
	clock.take(t, leader, "v1", first)
	if err := clock.act(t, leader, journal.ToShadow, first); err != nil {
		t.Fatal(err)
	}
	force, _ := leader.Force()
	kept := shelf.payloads
	shelf.payloads = nil
	if err := other.LearnForce(t.Context(), force); err != nil {
		t.Fatal(err)
	}
	want(t, other, "", "")
	if learned, _ := other.Force(); learned.At != force.At {
		t.Errorf("it has what was in force at %v", learned.At)
	}
	shelf.payloads = kept
	if err := other.Complete(t.Context()); err != nil {
		t.Error(err)
	}
	want(t, other, "", "v1")
}

// A payload that has rotted decides nothing, and is had from the others.
func TestPayloadThatHasRottedIsFetchedAnew(t *testing.T) {
	shelf, clock, dir := new(shelf), &clock{time.Now().Add(-time.Minute)}, t.TempDir()
	store := openStore(t, Config{Dir: dir, Fetch: shelf.fetch, Share: shelf.share})
	first, other := networkOf(t, 1, network.Features), networkOf(t, 2, network.Features)
	digest := payloads.Digest(first)
	clock.take(t, store, "v1", first)
	if err := payloads.Keep(dir, digest, other); err != nil { // a network, and another one
		t.Fatal(err)
	}
	kept, err := inspect.Folder(dir)
	if err != nil || len(kept) != 1 || inspect.Usable(dir, kept[0]) == nil {
		t.Errorf("it can decide: %v, %v", kept, err)
	}
	shared := shelf.payloads
	shelf.payloads = nil
	wantRejected(t, clock.act(t, store, journal.ToShadow, first), ReasonMissing)
	want(t, store, "", "")
	shelf.payloads = shared
	if err := clock.act(t, store, journal.ToShadow, first); err != nil {
		t.Fatal(err)
	}
	want(t, store, "", "v1")
	if healed, err := payloads.Read(dir, digest, 1<<20); err != nil || !slices.Equal(healed, first) {
		t.Errorf("%d bytes lie there, %v", len(healed), err)
	}
}

// Who keeps payloads for all removes old ones, and an earlier release shared those in force alone.
func TestWhatIsKeptIsSharedAnew(t *testing.T) {
	dir := t.TempDir()
	first, second := networkOf(t, 1, network.Features), networkOf(t, 2, network.Features)
	synctest.Test(t, func(t *testing.T) {
		clock := &clock{time.Now().Add(-time.Minute)}
		earlier := openStore(t, Config{Dir: dir})
		clock.take(t, earlier, "v1", first)
		clock.take(t, earlier, "v2", second)
		shelf := new(shelf)
		store := openStore(t, Config{Dir: dir, Share: shelf.share, Fetch: shelf.fetch})
		complete := func(shared int) {
			t.Helper()
			if err := store.Complete(t.Context()); err != nil || len(shelf.payloads) != shared {
				t.Errorf("%d payloads are shared, want %d: %v", len(shelf.payloads), shared, err)
			}
		}
		complete(2)
		shelf.payloads = nil
		complete(0)
		time.Sleep(shareEvery)
		shelf.away = errors.New("the store is away")
		if err := store.Complete(t.Context()); !errors.Is(err, shelf.away) {
			t.Errorf("shared nowhere: %v", err)
		}
		shelf.away = nil
		complete(2)
	})
}

// Whoever kept them for the others may be gone for good, and the library removes what is old.
func TestHeirHasWhatARollbackBringsBack(t *testing.T) {
	shelf, clock := new(shelf), &clock{time.Now().Add(-time.Minute)}
	leader := twoActivated(t, shelf, clock)
	heir := openStore(t, Config{Dir: t.TempDir(), Fetch: shelf.fetch, Share: shelf.share})
	force, _ := leader.Force()
	if err := heir.Complete(t.Context()); err != nil { // before it knows of anything
		t.Fatal(err)
	}
	if err := heir.LearnForce(t.Context(), force); err != nil {
		t.Fatal(err)
	}
	if err := heir.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	shelf.payloads = nil
	for _, active := range []string{"v1", ""} {
		if err := clock.act(t, heir, journal.RollBack, nil); err != nil {
			t.Fatal(err)
		}
		want(t, heir, active, "")
	}
}
