package supervise_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/supervise"
)

func TestPanicInOneWorkerLeavesTheOthersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		s := newSupervisor(r)
		defer mustStop(t, s)
		mustStart(t, s, supervise.Spec{Name: "calm", Worker: supervise.WorkerFunc(waits)})
		mustStart(t, s, supervise.Spec{Name: "wild", Worker: panics("kaboom")})
		mustStart(t, s, supervise.Spec{Name: "quiet", Worker: supervise.WorkerFunc(waits)})
		time.Sleep(24 * time.Hour)
		for _, name := range []string{"calm", "quiet"} {
			if got := statusOf(t, s, name); got.Restarts != 0 || got.Streak != 0 || got.Uptime != 24*time.Hour {
				t.Errorf("neighbour: %+v", got)
			}
		}
		if got := statusOf(t, s, "wild"); got.Restarts < 24*60*2 || got.LastError != "panic: kaboom" {
			t.Errorf("%+v: want a probe at least every 30 s", got)
		}
		for _, e := range r.of("wild") {
			if e.To == supervise.BackingOff && !strings.Contains(string(e.Stack), "main_test.go") {
				t.Fatalf("the stack does not show where it happened:\n%s", e.Stack)
			}
		}
	})
}

func TestGoexitIsAFailureNotAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		defer mustStop(t, s)
		exit := func(context.Context) error { runtime.Goexit(); return nil }
		mustStart(t, s, supervise.Spec{Name: "loop", Worker: script(exit, waits)})
		time.Sleep(2 * time.Second)
		if got := statusOf(t, s, "loop"); got.Restarts != 1 || got.LastError != supervise.ErrGoexit.Error() {
			t.Errorf("status %+v", got)
		}
	})
}

// The context error of somebody else's context is a failure like any other, not a stop.
func TestForeignContextErrorDoesNotEndAWorkerSilently(t *testing.T) {
	for _, foreign := range []error{context.Canceled, context.DeadlineExceeded, supervise.ErrStopped} {
		synctest.Test(t, func(t *testing.T) {
			s := newSupervisor(&recorder{})
			defer mustStop(t, s)
			mustStart(t, s, supervise.Spec{Name: "loop", Worker: script(fails(foreign), waits)})
			time.Sleep(2 * time.Second)
			got := statusOf(t, s, "loop")
			if got.State != supervise.Running || got.Restarts != 1 || got.LastError != foreign.Error() {
				t.Errorf("after %v: %+v", foreign, got)
			}
		})
	}
}

func TestPermanentErrorLeavesTheWorkerDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		defer mustStop(t, s)
		worker := script(fails(supervise.Permanent(errBoom)))
		mustStart(t, s, supervise.Spec{Name: "loop", Worker: worker})
		time.Sleep(time.Hour)
		got := statusOf(t, s, "loop")
		if got.State != supervise.Failed || got.LastError != "boom" || worker.runs.Load() != 1 {
			t.Errorf("%d runs, status %+v", worker.runs.Load(), got)
		}
		select {
		case err := <-s.Fatal():
			t.Errorf("Fatal = %v", err)
		default:
		}
	})
}

func TestFatalErrorAsksTheProcessToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		defer mustStop(t, s)
		mustStart(t, s, supervise.Spec{Name: "calm", Worker: supervise.WorkerFunc(waits)})
		mustStart(t, s, supervise.Spec{Name: "disk", Worker: lasts(time.Second, supervise.Fatal(errBoom))})
		mustStart(t, s, supervise.Spec{Name: "disk2", Worker: lasts(2*time.Second, supervise.Fatal(errBoom))})
		err := <-s.Fatal()
		if !errors.Is(err, errBoom) || !supervise.IsFatal(err) || err.Error() != `worker "disk": boom` {
			t.Errorf("Fatal = %v", err)
		}
		time.Sleep(time.Hour)
		if got := statusOf(t, s, "calm").State; got != supervise.Running {
			t.Errorf("calm is %v; whoever runs the process decides when to stop it", got)
		}
	})
}

func TestFiniteWorkerMayFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		defer mustStop(t, s)
		worker := script(fails(errBoom), lasts(time.Minute, nil))
		mustStart(t, s, supervise.Spec{Name: "forge", Worker: worker, Finite: true})
		time.Sleep(time.Hour)
		got := statusOf(t, s, "forge")
		if got.State != supervise.Finished || got.Restarts != 1 || !got.Finite || worker.runs.Load() != 2 {
			t.Errorf("status %+v", got)
		}
	})
}

func TestCircuitOpensProbesAtTheCapAndClosesWhenHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		defer mustStop(t, s)
		scripts := make([]supervise.WorkerFunc, 0, 21)
		for range 20 {
			scripts = append(scripts, fails(errBoom))
		}
		worker := script(append(scripts, waits)...)
		mustStart(t, s, supervise.Spec{Name: "loop", Worker: worker})
		seen := map[supervise.State]bool{}
		for worker.runs.Load() < 21 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			got := statusOf(t, s, "loop")
			seen[got.State] = true
			if open := got.Streak > 10 && got.State != supervise.Running; open != (got.State == supervise.Degraded) {
				t.Fatalf("status %+v", got)
			}
			if got.State == supervise.Degraded && (got.Circuit != supervise.Open || got.Backoff < 15*time.Second ||
				got.NextStart.IsZero()) {
				t.Fatalf("status %+v", got)
			}
		}
		if got := statusOf(t, s, "loop"); got.Circuit != supervise.HalfOpen || got.State != supervise.Running {
			t.Errorf("probe under way: %+v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := statusOf(t, s, "loop"); got.Circuit != supervise.Closed || got.Streak != 0 {
			t.Errorf("after a healthy minute: %+v", got)
		}
		if !seen[supervise.BackingOff] || !seen[supervise.Degraded] {
			t.Errorf("states seen: %v", seen)
		}
	})
}

func TestStatusShowsTheTimesOfAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, began := newSupervisor(&recorder{}), time.Now()
		defer mustStop(t, s)
		mustStart(t, s, supervise.Spec{Name: "loop", Worker: script(lasts(time.Minute, errBoom), waits),
			Policy: supervise.Policy{Base: 10 * time.Second}})
		time.Sleep(30 * time.Second)
		want := supervise.Status{Name: "loop", State: supervise.Running, StartedAt: began, Uptime: 30 * time.Second}
		if diff := cmp.Diff(want, statusOf(t, s, "loop")); diff != "" {
			t.Errorf("running (-want +got):\n%s", diff)
		}
		time.Sleep(30*time.Second + time.Nanosecond)
		got := statusOf(t, s, "loop")
		want = supervise.Status{Name: "loop", State: supervise.BackingOff, StartedAt: began, Streak: 1,
			Backoff: got.Backoff, LastError: "boom", LastErrorAt: began.Add(time.Minute),
			NextStart: began.Add(time.Minute + got.Backoff)}
		if diff := cmp.Diff(want, got); diff != "" || got.Backoff < 5*time.Second {
			t.Errorf("backing off (-want +got):\n%s", diff)
		}
		time.Sleep(10 * time.Second)
		restarted := want.NextStart
		got = statusOf(t, s, "loop")
		if !got.StartedAt.Equal(restarted) || !got.NextStart.IsZero() || got.Backoff != 0 || got.Restarts != 1 {
			t.Errorf("restarted: %+v", got)
		}
	})
}
