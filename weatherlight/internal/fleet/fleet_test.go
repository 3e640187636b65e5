package fleet

import (
	"cmp"
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
	"github.com/esper-lite/weatherlight/supervise"
)

// fakeLease answers renewals as it is told.
type fakeLease struct {
	mu       sync.Mutex
	roll     lease.Roll
	err      error
	taken    int           // renewals for which the name is taken
	refusal  error         // of those [lease.ErrNameTaken]
	answers  time.Duration // after so long
	renewals int
	note     []byte // of the last renewal
}

func (r *fakeLease) Renew(_ context.Context, note []byte) (lease.Roll, error) {
	time.Sleep(r.answers)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note = note
	if r.renewals++; r.renewals <= r.taken {
		return lease.Roll{}, cmp.Or(r.refusal, lease.ErrNameTaken)
	}
	return r.roll, r.err
}

func (r *fakeLease) Confirm(_ context.Context, token int64) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return token == r.roll.Token, r.err
}

func (r *fakeLease) Proclaim(ctx context.Context, token int64, note []byte) (bool, error) {
	held, err := r.Confirm(ctx, token)
	if held {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.roll.Proclaimed = note
	}
	return held, err
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
		working := f.WhileLeader(func(ctx, _ context.Context) error {
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
	work := f.WhileLeader(func(_, _ context.Context) error { return errBroken })
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

// The leader of before had another secret, and is dead.
func TestLeadUnderAnotherSecretIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := testFleet(&fakeLease{taken: 3, refusal: lease.ErrStranger}).Join(t.Context()); err != nil {
			t.Errorf("the lead ended, and joining failed: %v", err)
		}
		err := testFleet(&fakeLease{taken: 1000, refusal: lease.ErrStranger}).Join(t.Context())
		if !errors.Is(err, lease.ErrStranger) {
			t.Errorf("among strangers joining came to %v", err)
		}
	})
}

// A renewal whose answer comes after the place has ended is no leave to go on.
func TestLateAnswerIsNoLeaveToGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := &fakeLease{answers: TTL + time.Second}
		f := testFleet(held)
		let := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { let <- f.Hold(ctx) }()
		synctest.Wait()
		if err := f.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case err := <-let:
			t.Errorf("a place that is over was held: %v", err)
		default:
		}
		cancel()
		<-let
	})
}

// A stop waits for what is in hand; the loss of the lead does not: it is another's by then.
func TestWorkEndsWithTheLeadAndNotWithAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, stopped := range map[string]bool{"stopped": true, "deposed": false} {
			held := &fakeLease{roll: lease.Roll{Token: 7, Leader: "a"}}
			f := testFleet(held)
			if err := f.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
			supervisor := supervise.New(supervise.Config{})
			ended, finish := make(chan bool, 1), make(chan struct{})
			worker := f.WhileLeader(func(ctx, work context.Context) error {
				<-ctx.Done()
				ended <- true
				select {
				case <-work.Done():
					ended <- true
				case <-finish:
					ended <- false
				}
				return nil
			})
			if err := supervisor.Start(t.Context(), supervise.Spec{Name: "w", Worker: supervise.WorkerFunc(worker)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			var stopping sync.WaitGroup
			stop := func() { stopping.Go(func() { _ = supervisor.Stop(context.Background()) }) }
			if stopped {
				stop()
			} else {
				held.set(0, nil)
				if err := f.Renew(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			<-ended
			synctest.Wait()
			close(finish)
			if cut := <-ended; cut == stopped {
				t.Errorf("%s: work was cut off: %v", name, cut)
			}
			stop()
			stopping.Wait()
		}
	})
}
