package weatherlight

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/oona/lease"
)

// fakeRoster answers beats as it is told.
type fakeRoster struct {
	mu    sync.Mutex
	roll  lease.Roll
	err   error
	taken int // beats for which the name is taken
	beats int
}

func (r *fakeRoster) Renew(context.Context, []byte) (lease.Roll, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.beats++; r.beats <= r.taken {
		return lease.Roll{}, lease.ErrNameTaken
	}
	return r.roll, r.err
}

func (r *fakeRoster) Confirm(_ context.Context, token int64) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return token == r.roll.Token, r.err
}

func (r *fakeRoster) Release(context.Context) error { return nil }

func (r *fakeRoster) set(token int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll.Token, r.err = token, err
}

func testFleet(roster *fakeRoster) *fleet {
	return newFleet("a", roster, "library", slog.New(slog.DiscardHandler))
}

// A leader that hears nothing of the bus must have ceased to lead when the
// others may begin.
func TestSilentLeaderStopsBeforeAnotherMayLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		roster := &fakeRoster{roll: lease.Roll{Token: 7, Leader: "a"}}
		f := testFleet(roster)
		if err := f.join(t.Context()); err != nil || !f.leads() {
			t.Fatalf("join: %v, leads %v", err, f.leads())
		}
		ctx, stop := context.WithCancel(t.Context())
		var ended time.Time
		var running sync.WaitGroup
		running.Go(func() { _ = f.Run(ctx) })
		working := f.whileLeading(func(ctx context.Context) error {
			<-ctx.Done()
			if ended.IsZero() {
				ended = time.Now()
			}
			return nil
		})
		running.Go(func() { _ = working(ctx) })
		time.Sleep(10 * time.Second)
		roster.set(7, errBroken)
		silent := time.Now()
		time.Sleep(2 * leaseTTL)
		synctest.Wait()
		if f.leads() || ended.IsZero() || ended.Sub(silent) > leaseTTL {
			t.Errorf("leads %v, work ended %s after the silence began", f.leads(), ended.Sub(silent))
		}
		roster.set(8, nil)
		time.Sleep(leaseBeat)
		synctest.Wait()
		if !f.leads() {
			t.Error("does not lead again")
		}
		stop()
		running.Wait()
	})
}

func TestNameOfADeadPredecessorIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := testFleet(&fakeRoster{taken: 3}).join(t.Context()); err != nil {
			t.Errorf("join: %v", err)
		}
		begun := time.Now()
		err := testFleet(&fakeRoster{taken: 1000}).join(t.Context())
		if !errors.Is(err, lease.ErrNameTaken) || time.Since(begun) > leaseTTL+2*leaseBeat {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

func TestFailureOfLeadersWorkIsAFailure(t *testing.T) {
	f := testFleet(&fakeRoster{roll: lease.Roll{Token: 1, Leader: "a"}})
	if err := f.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	work := f.whileLeading(func(context.Context) error { return errBroken })
	if err := work(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func rollOf(t *testing.T, leader string, notes map[string]fleetNote) lease.Roll {
	t.Helper()
	roll := lease.Roll{Leader: leader}
	for _, name := range sortedNames(notes) {
		note, err := json.Marshal(notes[name])
		if err != nil {
			t.Fatal(err)
		}
		roll.Members = append(roll.Members, lease.Member{Name: name, Note: note})
	}
	return roll
}

func TestInstanceThatFallsSilentIsReportedDeadOnce(t *testing.T) {
	roster := &fakeRoster{roll: rollOf(t, "b", map[string]fleetNote{"a": {}, "b": {}, "c": {}})}
	f := testFleet(roster)
	var dead []string
	f.departed = func(name string) { dead = append(dead, name) }
	for _, members := range []map[string]fleetNote{
		{"a": {}, "b": {}, "c": {}}, {"a": {}, "c": {}}, {"a": {}, "c": {}}, {"c": {}}, {"a": {}, "b": {}}, {"a": {}},
	} {
		roster.roll = rollOf(t, "a", members)
		if err := f.beat(t.Context()); err != nil {
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
		members map[string]fleetNote
		want    bool
	}{
		{"alone", "a", map[string]fleetNote{"a": {Library: "l"}}, true},
		{"the leader shares it", "b", map[string]fleetNote{"a": {Library: "l"}, "b": {Library: "l"}}, false},
		{"the leader has another", "c", map[string]fleetNote{"a": {Library: "l"}, "b": {Library: "l"}, "c": {Library: "m"}}, true},
		{"nobody is known", "", nil, true},
	} {
		f := testFleet(&fakeRoster{roll: rollOf(t, row.leader, row.members)})
		if err := f.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := f.keeps("l"); got != row.want {
			t.Errorf("%s: keeps %v", row.name, got)
		}
	}
}
