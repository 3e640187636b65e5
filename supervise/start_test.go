package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/supervise"
)

func TestStartWaitsUntilTheWorkerIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		s := newSupervisor(r)
		defer mustStop(t, s)
		slow := func(ctx context.Context) error {
			time.Sleep(3 * time.Second)
			supervise.Ready(ctx)
			return readyThenWaits(ctx) // says so twice
		}
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			if got := statusOf(t, s, "slow"); got.State != supervise.Starting || got.Uptime != 0 {
				t.Errorf("before it is ready: %+v", got)
			}
		})
		mustStart(t, s, supervise.Spec{Name: "slow", Worker: script(slow), AwaitReady: true})
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("Start waited %v", waited)
		}
		time.Sleep(time.Second)
		if got := statusOf(t, s, "slow"); got.State != supervise.Running || got.Uptime != time.Second {
			t.Errorf("status %+v", got)
		}
	})
}

func TestStartRetriesUntilReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		defer mustStop(t, s)
		mustStart(t, s, supervise.Spec{Name: "late", AwaitReady: true,
			Worker: script(fails(errBoom), fails(errBoom), readyThenWaits)})
		if got := statusOf(t, s, "late"); got.Restarts != 2 || got.State != supervise.Running {
			t.Errorf("status %+v", got)
		}
	})
}

func TestStartThatFailsLeavesNothingRunning(t *testing.T) {
	readyThenBoom := func(ctx context.Context) error {
		supervise.Ready(ctx)
		return errBoom
	}
	tests := []struct {
		name   string
		worker supervise.WorkerFunc
		finite bool
		want   error  // nil: Start succeeds
		text   string // of the error
		state  supervise.State
		took   time.Duration
	}{
		{"never ready", waits, false, supervise.ErrNotReady,
			`starting worker "w": worker not ready within 10s`, supervise.Stopped, 10 * time.Second},
		{"fails until the limit", fails(errBoom), false, errBoom,
			`starting worker "w": worker not ready within 10s: boom`, supervise.Stopped, 10 * time.Second},
		{"permanent", fails(supervise.Permanent(errBoom)), false, errBoom,
			`starting worker "w": boom`, supervise.Failed, 0},
		{"fatal", fails(supervise.Fatal(errBoom)), false, errBoom, `starting worker "w": boom`, supervise.Failed, 0},
		{"finished without being ready", fails(nil), true, nil, "", supervise.Finished, 0},
		{"ready, then failed at once", readyThenBoom, false, nil, "", supervise.BackingOff, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, began := newSupervisor(&recorder{}), time.Now()
				defer mustStop(t, s)
				err := s.Start(t.Context(), supervise.Spec{Name: "w", Worker: test.worker, AwaitReady: true,
					Finite: test.finite})
				if !errors.Is(err, test.want) || (err != nil && err.Error() != test.text) {
					t.Errorf("Start = %v, want %q", err, test.text)
				}
				synctest.Wait()
				if got := statusOf(t, s, "w").State; got != test.state || time.Since(began) != test.took {
					t.Errorf("%v after %v, want %v after %v", got, time.Since(began), test.state, test.took)
				}
			})
		})
	}
}

// Many times, because it is a matter of which of two things the engine sees first.
func TestWorkerThatWasReadyForAnInstantWasReady(t *testing.T) {
	readyThenDown := func(ctx context.Context) error {
		supervise.Ready(ctx)
		return supervise.Permanent(errBoom)
	}
	for range 100 {
		r, s := &recorder{}, supervise.New(supervise.Config{})
		events, cancel := s.Subscribe(10) // a subscriber has them all when Stop returns
		mustStart(t, s, supervise.Spec{Name: "w", Worker: supervise.WorkerFunc(readyThenDown), AwaitReady: true})
		mustStop(t, s)
		cancel()
		for e := range events {
			r.record(e)
		}
		if got := r.states("w"); len(got) < 2 || got[1] != supervise.Running {
			t.Fatalf("states %v", got)
		}
	}
}

func TestStartIsRefused(t *testing.T) {
	worker := supervise.WorkerFunc(waits)
	s := newSupervisor(&recorder{})
	defer mustStop(t, s)
	mustStart(t, s, supervise.Spec{Name: "taken", Worker: worker})
	over, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	tests := []struct {
		name string
		ctx  context.Context
		spec supervise.Spec
		want error
	}{
		{"no name", t.Context(), supervise.Spec{Worker: worker}, supervise.ErrInvalidSpec},
		{"no worker", t.Context(), supervise.Spec{Name: "a"}, supervise.ErrInvalidSpec},
		{"name in use", t.Context(), supervise.Spec{Name: "taken", Worker: worker}, supervise.ErrDuplicate},
		{"context over", over, supervise.Spec{Name: "b", Worker: worker}, errBoom},
	}
	for _, test := range tests {
		if err := s.Start(test.ctx, test.spec); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if n := len(s.Status()); n != 1 {
		t.Errorf("%d workers, want 1", n)
	}
}

func TestStopWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		time.AfterFunc(time.Second, func() { mustStop(t, s) })
		err := s.Start(t.Context(), supervise.Spec{Name: "w", Worker: script(waits), AwaitReady: true})
		if !errors.Is(err, supervise.ErrStopped) {
			t.Errorf("Start = %v", err)
		}
		synctest.Wait()
	})
}

func TestStatusKeepsStartOrder(t *testing.T) {
	s := newSupervisor(&recorder{})
	defer mustStop(t, s)
	var want, got []string
	for i := range 20 {
		want = append(want, fmt.Sprint("worker ", 20-i))
		mustStart(t, s, supervise.Spec{Name: want[i], Worker: supervise.WorkerFunc(waits)})
	}
	for _, status := range s.Status() {
		got = append(got, status.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestContextsOutsideASupervisor(t *testing.T) {
	ctx := t.Context()
	if supervise.Work(ctx) != ctx {
		t.Error("Work invents a context")
	}
	supervise.Ready(ctx)
}

// What a run leaves behind is told to go when Run returns, not when the worker stops.
func TestContextsEndWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		defer mustStop(t, s)
		var left []context.Context
		leave := func(ctx context.Context) error {
			left = append(left, ctx, supervise.Work(ctx))
			return errBoom
		}
		mustStart(t, s, supervise.Spec{Name: "w", Worker: script(leave, waits)})
		synctest.Wait()
		for _, ctx := range left {
			if ctx.Err() == nil {
				t.Error("a context of a run that is over is alive")
			}
		}
	})
}

func TestNestedSupervisorHasItsOwnContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, inner := newSupervisor(&recorder{}), newSupervisor(&recorder{})
		defer mustStop(t, outer)
		defer mustStop(t, inner)
		leaf := func(ctx context.Context) error {
			if work := supervise.Work(ctx); supervise.Work(work) != work {
				t.Error("the work context of the work context is another one")
			}
			supervise.Ready(supervise.Work(ctx))
			return waits(ctx)
		}
		tree := func(ctx context.Context) error {
			return errors.Join(inner.Start(ctx, supervise.Spec{Name: "leaf", Worker: script(leaf), AwaitReady: true}),
				waits(ctx))
		}
		mustStart(t, outer, supervise.Spec{Name: "root", Worker: script(tree)})
		synctest.Wait()
		if got := statusOf(t, inner, "leaf").State; got != supervise.Running {
			t.Errorf("leaf is %v", got)
		}
	})
}

func TestAliveOnlyWhileEveryOwnerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := newSupervisor(&recorder{}), make(chan struct{})
		mustStart(t, s, supervise.Spec{Name: "runs", Worker: supervise.WorkerFunc(waits)})
		mustStart(t, s, supervise.Spec{Name: "backs off", Worker: fails(errBoom)})
		mustStart(t, s, supervise.Spec{Name: "is down", Worker: fails(supervise.Permanent(errBoom))})
		mustStart(t, s, supervise.Spec{Name: "deaf", Worker: deaf(release)})
		alive := func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return s.Alive(ctx)
		}
		if !alive() {
			t.Error("not alive in service")
		}
		time.AfterFunc(7*time.Second, func() {
			if !alive() {
				t.Error("not alive in a stop under way")
			}
		})
		if err := s.Stop(t.Context()); err == nil {
			t.Error("deaf stopped")
		}
		if !alive() {
			t.Error("an abandoned worker looks like a dead supervisor")
		}
		close(release)
	})
}
