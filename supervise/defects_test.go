package supervise_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/supervise"
)

// Each of these tests is named after what a user would suffer.

func TestWorkerThatReturnedIsNotShownAsRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		defer mustStop(t, s)
		mustStart(t, s, supervise.Spec{Name: "loop", Worker: script(fails(nil), waits)})
		synctest.Wait()
		got := statusOf(t, s, "loop")
		if got.State != supervise.BackingOff || got.LastError != supervise.ErrReturned.Error() || got.Uptime != 0 {
			t.Errorf("status after an unasked return: %+v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := statusOf(t, s, "loop"); got.State != supervise.Running || got.Restarts != 1 {
			t.Errorf("status a second later: %+v", got)
		}
	})
}

func TestAnOldCrashDoesNotMakeTheNextRecoverySlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := supervise.New(supervise.Config{Rand: seeded()}), &recorder{}
		events, cancel := s.Subscribe(100)
		defer cancel()
		defer mustStop(t, s)
		crash := fails(errBoom)
		mustStart(t, s, supervise.Spec{Name: "loop",
			Worker: script(crash, crash, crash, crash, crash, lasts(time.Hour, errBoom), waits)})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for len(events) > 0 {
			r.record(<-events)
		}
		var delays []time.Duration
		for _, e := range r.of("loop") {
			if e.To == supervise.BackingOff {
				delays = append(delays, e.Delay)
			}
		}
		for i, most := range seconds(1, 2, 4, 8, 16, 1) {
			if delays[i] > most || delays[i] < most/2 {
				t.Errorf("delay %d = %v, want within [%v, %v]", i+1, delays[i], most/2, most)
			}
		}
	})
}

func TestOneCrashDoesNotMarkTheServiceForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		s := newSupervisor(r)
		defer mustStop(t, s)
		mustStart(t, s, supervise.Spec{Name: "loop", Worker: script(fails(errBoom), waits)})
		time.Sleep(59 * time.Second)
		if got := statusOf(t, s, "loop"); got.Streak != 1 {
			t.Errorf("forgiven too early: %+v", got)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		got := statusOf(t, s, "loop")
		if got.Streak != 0 || got.Backoff != 0 || got.State != supervise.Running {
			t.Errorf("a minute later still marked: %+v", got)
		}
		if age := time.Since(got.LastErrorAt); age < time.Minute || got.LastError != "boom" {
			t.Errorf("the last error must stay readable with its age, got %q, %v", got.LastError, age)
		}
		events := r.of("loop")
		if last := events[len(events)-1]; !last.Recovered() {
			t.Errorf("the recovery was not told, last event %+v", last)
		}
	})
}

func TestLoopThatDiesSilentlyIsSeenAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		s := newSupervisor(r)
		defer mustStop(t, s)
		names := []string{"telemetry", "housekeeping", "seed_telemetry", "rollback_monitor", "emergency_monitor"}
		for _, name := range names {
			worker := script(waits)
			if name == "housekeeping" {
				worker = script(panics("index out of range"), waits)
			}
			mustStart(t, s, supervise.Spec{Name: name, Worker: worker})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i, status := range s.Status() {
			restarts := 0
			if status.Name == "housekeeping" {
				restarts = 1
			}
			if status.Name != names[i] || status.State != supervise.Running || status.Restarts != restarts {
				t.Errorf("row %d: %+v", i, status)
			}
		}
		want := []supervise.State{supervise.Starting, supervise.Running, supervise.BackingOff,
			supervise.Starting, supervise.Running}
		if diff := cmp.Diff(want, r.states("housekeeping")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestIdleProcessStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		for _, name := range []string{"a", "b", "c"} {
			mustStart(t, s, supervise.Spec{Name: name, Worker: supervise.WorkerFunc(waits)})
		}
		mustStart(t, s, supervise.Spec{Name: "waiting to retry", Worker: fails(errBoom)})
		began := time.Now()
		mustStop(t, s)
		if took := time.Since(began); took != 0 {
			t.Errorf("an idle stop took %v", took)
		}
	})
}

// What outlived its stop still runs: a second run beside it would do its work twice.
func TestRunThatOutlivedItsStopIsNotJoinedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := newSupervisor(&recorder{}), make(chan struct{})
		defer mustStop(t, s)
		running, most := 0, 0
		spec := supervise.Spec{Name: "consumer", Worker: supervise.WorkerFunc(func(context.Context) error {
			running++
			most = max(most, running)
			<-release
			running--
			return nil
		})}
		mustStart(t, s, spec)
		var unstopped *supervise.UnstoppedError
		if err := s.StopWorker(t.Context(), "consumer"); !errors.As(err, &unstopped) {
			t.Fatalf("StopWorker = %v", err)
		}
		if err := s.Start(t.Context(), spec); !errors.Is(err, supervise.ErrDuplicate) {
			t.Errorf("Start beside the abandoned run = %v", err)
		}
		if got := statusOf(t, s, "consumer").State; got != supervise.Abandoned {
			t.Errorf("it is %v", got)
		}
		close(release)
		synctest.Wait()
		if got := statusOf(t, s, "consumer").State; got != supervise.Stopped || most != 1 {
			t.Errorf("it is %v, and %d runs were under way at once", got, most)
		}
		mustStart(t, s, spec) // its name is free again
	})
}

func TestStopLetsTheMessageInHandFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		var handled, fetched int
		mustStart(t, s, supervise.Spec{Name: "consumer", Worker: supervise.WorkerFunc(func(ctx context.Context) error {
			for ctx.Err() == nil {
				fetched++
				select {
				case <-time.After(3 * time.Second): // one message
					handled++
				case <-supervise.Work(ctx).Done():
				}
			}
			return nil
		})})
		time.Sleep(4 * time.Second)
		began := time.Now()
		mustStop(t, s)
		if handled != 2 || fetched != 2 {
			t.Errorf("fetched %d, handled %d, want 2 of 2", fetched, handled)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("stop took %v, want what the message needed", took)
		}
	})
}

func TestSignalDuringBootLeavesNothingRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(&recorder{})
		signal, send := context.WithCancelCause(t.Context())
		errSignal := errors.New("terminated")
		worker := func(name string, ready supervise.WorkerFunc) supervise.Step {
			return supervise.Step{
				Name: name,
				Start: func(ctx context.Context) error {
					return s.Start(ctx, supervise.Spec{Name: name, Worker: ready, AwaitReady: true})
				},
				Stop: func(ctx context.Context) error { return s.StopWorker(ctx, name) },
			}
		}
		time.AfterFunc(time.Second, func() { send(errSignal) })
		began := time.Now()
		booted, err := supervise.Boot(signal, []supervise.Step{
			worker("first", readyThenWaits), worker("never ready", waits), worker("not reached", readyThenWaits),
		}, nil)
		var failed *supervise.BootError
		if booted != nil || !errors.As(err, &failed) || failed.Step != "never ready" || !errors.Is(err, errSignal) {
			t.Errorf("Boot = %v, %v", booted, err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("the signal was heeded after %v", took-time.Second)
		}
		for _, status := range s.Status() {
			if status.State != supervise.Stopped {
				t.Errorf("%s is %v", status.Name, status.State)
			}
		}
	})
}
