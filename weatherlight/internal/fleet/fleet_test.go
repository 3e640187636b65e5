package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/lease"
)

// fakeLease answers renewals as it is told.
type fakeLease struct {
	mu       sync.Mutex
	roll     lease.Roll
	err      error
	taken    int // renewals for which the name is taken
	renewals int
}

func (r *fakeLease) Renew(context.Context, []byte) (lease.Roll, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.renewals++; r.renewals <= r.taken {
		return lease.Roll{}, lease.ErrNameTaken
	}
	return r.roll, r.err
}

func (r *fakeLease) Confirm(_ context.Context, token int64) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return token == r.roll.Token, r.err
}

func (r *fakeLease) Release(context.Context) error { return nil }

func (r *fakeLease) set(token int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll.Token, r.err = token, err
}

func testFleet(held *fakeLease) *Fleet { return testFleetWith(held, func(string, time.Duration) {}) }

func testFleetWith(held *fakeLease, departed func(string, time.Duration)) *Fleet {
	return New(Config{
		Name: "a", Library: "l", Lease: held, Departed: departed, Clock: cadence.Phase{}, Logger: slog.New(slog.DiscardHandler),
	})
}

// A leader that hears nothing of the bus must have ceased to lead when the
// others may begin.
func TestSilentLeaderStopsBeforeAnotherMayLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := &fakeLease{roll: lease.Roll{Token: 7, Leader: "a"}}
		f := testFleet(held)
		if err := f.Join(t.Context()); err != nil || !f.Leads() {
			t.Fatalf("join: %v, leads %v", err, f.Leads())
		}
		ctx, stop := context.WithCancel(t.Context())
		var ended time.Time
		var running sync.WaitGroup
		running.Go(func() { _ = f.Run(ctx) })
		working := f.WhileLeader(func(ctx context.Context) error {
			<-ctx.Done()
			if ended.IsZero() {
				ended = time.Now()
			}
			return nil
		})
		running.Go(func() { _ = working(ctx) })
		time.Sleep(10 * time.Second)
		held.set(7, errBroken)
		silent := time.Now()
		time.Sleep(2 * TTL)
		synctest.Wait()
		if f.Leads() || ended.IsZero() || ended.Sub(silent) > TTL {
			t.Errorf("leads %v, work ended %s after the silence began", f.Leads(), ended.Sub(silent))
		}
		held.set(8, nil)
		time.Sleep(renewal)
		synctest.Wait()
		if !f.Leads() {
			t.Error("does not lead again")
		}
		stop()
		running.Wait()
	})
}

func TestNameOfADeadPredecessorIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := testFleet(&fakeLease{taken: 3}).Join(t.Context()); err != nil {
			t.Errorf("join: %v", err)
		}
		begun := time.Now()
		err := testFleet(&fakeLease{taken: 1000}).Join(t.Context())
		if !errors.Is(err, lease.ErrNameTaken) || time.Since(begun) > TTL+2*renewal {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

func TestFailureOfLeadersWorkIsAFailure(t *testing.T) {
	f := testFleet(&fakeLease{roll: lease.Roll{Token: 1, Leader: "a"}})
	if err := f.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	work := f.WhileLeader(func(context.Context) error { return errBroken })
	if err := work(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func rollOf(t *testing.T, leader string, notes map[string]metadata) lease.Roll {
	t.Helper()
	roll := lease.Roll{Leader: leader}
	for _, name := range slices.Sorted(maps.Keys(notes)) {
		note, err := json.Marshal(notes[name])
		if err != nil {
			t.Fatal(err)
		}
		roll.Members = append(roll.Members, lease.Member{Name: name, Note: note})
	}
	return roll
}

func TestInstanceThatFallsSilentIsReportedDeadOnce(t *testing.T) {
	held := &fakeLease{roll: rollOf(t, "b", map[string]metadata{"a": {}, "b": {}, "c": {}})}
	var dead []string
	f := testFleetWith(held, func(name string, _ time.Duration) { dead = append(dead, name) })
	for _, members := range []map[string]metadata{
		{"a": {}, "b": {}, "c": {}}, {"a": {}, "c": {}}, {"a": {}, "c": {}}, {"c": {}}, {"a": {}, "b": {}}, {"a": {}},
	} {
		held.roll = rollOf(t, "a", members)
		if err := f.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"b", "c", "b"}; !slices.Equal(dead, want) {
		t.Errorf("dead: %v, want %v: never ourselves, and each once", dead, want)
	}
}

func TestOneInstanceKeepsALibrary(t *testing.T) {
	for _, row := range []struct {
		name    string
		leader  string
		members map[string]metadata
		want    bool
	}{
		{"alone", "a", map[string]metadata{"a": {Library: "l"}}, true},
		{"the leader shares it", "b", map[string]metadata{"a": {Library: "l"}, "b": {Library: "l"}}, false},
		{"the leader has another", "c", map[string]metadata{"a": {Library: "l"}, "b": {Library: "l"}, "c": {Library: "m"}}, true},
		{"nobody is known", "", nil, true},
	} {
		f := testFleet(&fakeLease{roll: rollOf(t, row.leader, row.members)})
		if err := f.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := f.KeepsLibrary(); got != row.want {
			t.Errorf("%s: keeps %v", row.name, got)
		}
	}
}
