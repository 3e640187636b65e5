package supervise_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/supervise"
)

func TestWorkerThatIgnoresItsContextsIsNamedAndAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, release := &recorder{}, make(chan struct{})
		s := newSupervisor(r)
		mustStart(t, s, supervise.Spec{Name: "good", Worker: supervise.WorkerFunc(waits)})
		mustStart(t, s, supervise.Spec{Name: "deaf", Worker: deaf(release)})
		mustStart(t, s, supervise.Spec{Name: "fine", Worker: supervise.WorkerFunc(waits)})
		for range 2 {
			began := time.Now()
			err := s.Stop(t.Context())
			var unstopped *supervise.UnstoppedError
			if !errors.As(err, &unstopped) || !cmp.Equal(unstopped.Names, []string{"deaf"}) {
				t.Fatalf("Stop = %v, want deaf to be named", err)
			}
			if !errors.Is(err, supervise.ErrAbandoned) || err.Error() != "did not stop: deaf" {
				t.Errorf("error %q", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("stop took %v, want at most soft plus hard", took)
			}
		}
		if got := statusOf(t, s, "good").State; got != supervise.Stopped {
			t.Errorf("good is %v", got)
		}
		close(release)
		synctest.Wait()
		want := []supervise.State{supervise.Starting, supervise.Running, supervise.Stopping, supervise.Abandoned,
			supervise.Stopped}
		if diff := cmp.Diff(want, r.states("deaf")); diff != "" {
			t.Errorf("a worker that came back late (-want +got):\n%s", diff)
		}
		mustStop(t, s)
	})
}

func TestWorkContextOutlivesFetchBySoftStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		s := newSupervisor(&recorder{})
		var fetchEnd, workEnd time.Time
		worker := func(ctx context.Context) error {
			work := supervise.Work(context.WithValue(ctx, key{}, 2))
			if ctx.Value(key{}) != 1 || work.Value(key{}) != 1 {
				t.Error("the values of Start's context are lost")
			}
			<-ctx.Done()
			fetchEnd = time.Now()
			<-work.Done()
			workEnd = time.Now()
			if !errors.Is(context.Cause(ctx), supervise.ErrStopped) || !errors.Is(context.Cause(work), supervise.ErrStopped) {
				t.Errorf("causes %v, %v", context.Cause(ctx), context.Cause(work))
			}
			return work.Err()
		}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, 1))
		if err := s.Start(ctx, supervise.Spec{Name: "slow", Worker: supervise.WorkerFunc(worker)}); err != nil {
			t.Fatal(err)
		}
		cancel() // a worker outlives whoever started it
		time.Sleep(time.Hour)
		began := time.Now()
		mustStop(t, s)
		if !fetchEnd.Equal(began) || workEnd.Sub(began) != 5*time.Second {
			t.Errorf("fetch ended after %v, work after %v", fetchEnd.Sub(began), workEnd.Sub(began))
		}
		if got := statusOf(t, s, "slow"); got.LastError != "" || got.State != supervise.Stopped {
			t.Errorf("the expected end counts as a failure: %+v", got)
		}
	})
}

func TestStopRunsInReverseAndOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		var order []string
		for _, name := range []string{"bus", "library", "consumer"} {
			mustStart(t, s, supervise.Spec{Name: name, Worker: supervise.WorkerFunc(func(ctx context.Context) error {
				<-ctx.Done()
				order = append(order, name+" told")
				time.Sleep(time.Second)
				order = append(order, name+" gone")
				return nil
			})})
		}
		mustStop(t, s)
		want := []string{"consumer told", "consumer gone", "library told", "library gone", "bus told", "bus gone"}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestSecondSignalLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := newSupervisor(&recorder{}), make(chan struct{})
		defer close(release)
		mustStart(t, s, supervise.Spec{Name: "slow", Worker: supervise.WorkerFunc(func(ctx context.Context) error {
			<-supervise.Work(ctx).Done()
			return nil
		})})
		mustStart(t, s, supervise.Spec{Name: "deaf", Worker: deaf(release)})
		time.AfterFunc(time.Second, s.Interrupt)
		began := time.Now()
		err := s.Stop(t.Context())
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("left %v after the second signal", took-time.Second)
		}
		var unstopped *supervise.UnstoppedError
		if !errors.As(err, &unstopped) || !cmp.Equal(unstopped.Names, []string{"deaf"}) {
			t.Errorf("Stop = %v", err)
		}
		err = s.Start(t.Context(), supervise.Spec{Name: "late", Worker: script(waits)})
		if !errors.Is(err, supervise.ErrStopped) {
			t.Errorf("Start after Interrupt = %v", err)
		}
	})
}

func TestEndOfStopContextInterruptsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := newSupervisor(&recorder{}), make(chan struct{})
		defer close(release)
		for _, name := range []string{"a", "b", "c", "d"} {
			mustStart(t, s, supervise.Spec{Name: name, Worker: deaf(release)})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err := s.Stop(ctx)
		var unstopped *supervise.UnstoppedError
		if !errors.As(err, &unstopped) || !cmp.Equal(unstopped.Names, []string{"a", "b", "c", "d"}) {
			t.Errorf("Stop = %v, want all in start order", err)
		}
		if took := time.Since(began); took > 3500*time.Millisecond {
			t.Errorf("stop took %v with a context of 3 s", took)
		}
	})
}

func TestStopCutsABackoffShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		s := newSupervisor(r)
		mustStart(t, s, supervise.Spec{Name: "loop", Worker: fails(errBoom),
			Policy: supervise.Policy{Base: time.Hour, Cap: time.Hour}})
		synctest.Wait()
		began := time.Now()
		mustStop(t, s)
		if took := time.Since(began); took != 0 {
			t.Errorf("stop waited %v for a backoff", took)
		}
		want := []supervise.State{supervise.Starting, supervise.Running, supervise.BackingOff, supervise.Stopping,
			supervise.Stopped}
		if diff := cmp.Diff(want, r.states("loop")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestStopIsLegalInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		if err := s.StopWorker(t.Context(), "nobody"); err != nil {
			t.Errorf("StopWorker without Start: %v", err)
		}
		mustStart(t, s, supervise.Spec{Name: "a", Worker: script(waits)})
		for range 2 {
			if err := s.StopWorker(t.Context(), "a"); err != nil {
				t.Errorf("StopWorker: %v", err)
			}
		}
		mustStart(t, s, supervise.Spec{Name: "a", Worker: script(waits)}) // the name is free again
		mustStop(t, s)
		mustStop(t, s)
		s.Interrupt()
		err := s.Start(t.Context(), supervise.Spec{Name: "b", Worker: script(waits)})
		if !errors.Is(err, supervise.ErrStopped) {
			t.Errorf("Start after Stop = %v", err)
		}
		mustStop(t, supervise.New(supervise.Config{})) // without Start
	})
}

func TestStopConcurrentWithStart(t *testing.T) {
	for range 50 {
		s := supervise.New(supervise.Config{})
		var all sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "d"} {
			all.Go(func() {
				err := s.Start(context.Background(), supervise.Spec{Name: name, AwaitReady: true,
					Worker: supervise.WorkerFunc(readyThenWaits)})
				if err != nil && !errors.Is(err, supervise.ErrStopped) {
					t.Errorf("Start: %v", err)
				}
			})
			all.Go(func() { mustStop(t, s) })
		}
		all.Wait()
		mustStop(t, s)
		for _, status := range s.Status() {
			if status.State != supervise.Stopped {
				t.Errorf("%s is %v after Stop", status.Name, status.State)
			}
		}
	}
}

func TestErrorAndPanicWhileStoppingAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		s := newSupervisor(r)
		after := func(f supervise.WorkerFunc) supervise.WorkerFunc {
			return func(ctx context.Context) error {
				<-ctx.Done()
				return f(ctx)
			}
		}
		mustStart(t, s, supervise.Spec{Name: "fails", Worker: after(fails(errBoom))})
		mustStart(t, s, supervise.Spec{Name: "panics", Worker: after(panics("late"))})
		mustStart(t, s, supervise.Spec{Name: "fatal", Worker: after(fails(supervise.Fatal(errBoom)))})
		mustStop(t, s)
		for _, name := range []string{"fails", "panics", "fatal"} {
			events := r.of(name)
			last := events[len(events)-1]
			if last.To != supervise.Stopped || last.Err == nil || (len(last.Stack) > 0) != (name == "panics") {
				t.Errorf("%s: last event %+v", name, last)
			}
		}
		if err := <-s.Fatal(); !errors.Is(err, errBoom) {
			t.Errorf("Fatal = %v", err)
		}
	})
}
