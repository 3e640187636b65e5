package supervise_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/supervise"
)

func TestHookAndSubscriberSeeTheSameStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		s := newSupervisor(r)
		events, cancel := s.Subscribe(100)
		mustStart(t, s, supervise.Spec{Name: "a", Worker: script(fails(errBoom), panics("kaboom"), waits)})
		mustStart(t, s, supervise.Spec{Name: "b", Worker: script(waits)})
		time.Sleep(10 * time.Second)
		mustStop(t, s)
		cancel()
		cancel() // again is legal
		var got []supervise.Event
		for e := range events { // closed by cancel
			got = append(got, e)
		}
		if diff := cmp.Diff(r.events, got, cmp.Comparer(func(a, b error) bool { return a == b })); diff != "" {
			t.Errorf("hook and subscriber differ (-hook +subscriber):\n%s", diff)
		}
		if n := s.DroppedEvents(); n != 0 || len(got) != 10+4 {
			t.Errorf("%d events, %d dropped", len(got), n)
		}
	})
}

func TestEventTellsWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		s := newSupervisor(r)
		defer mustStop(t, s)
		began := time.Now()
		mustStart(t, s, supervise.Spec{Name: "a", Worker: script(lasts(time.Second, errBoom), waits)})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		events := r.of("a")
		delay := statusOf(t, s, "a").StartedAt.Sub(began.Add(time.Second))
		want := []supervise.Event{
			{Time: began, Worker: "a", From: supervise.Created, To: supervise.Starting},
			{Time: began, Worker: "a", From: supervise.Starting, To: supervise.Running},
			{Time: began.Add(time.Second), Worker: "a", From: supervise.Running, To: supervise.BackingOff,
				Err: errBoom, Delay: delay},
			{Time: began.Add(time.Second + delay), Worker: "a", From: supervise.BackingOff, To: supervise.Starting,
				Restarts: 1},
			{Time: began.Add(time.Second + delay), Worker: "a", From: supervise.Starting, To: supervise.Running,
				Restarts: 1},
		}
		if diff := cmp.Diff(want, events, cmp.Comparer(func(a, b error) bool { return a == b })); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestNobodyWhoListensHoldsUpAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		seen := 0
		s := supervise.New(supervise.Config{Rand: seeded(), OnEvent: func(supervise.Event) {
			<-release
			seen++
		}})
		_, cancel := s.Subscribe(0) // never reads
		defer cancel()
		all, cancelAll := s.Subscribe(100_000)
		defer cancelAll()
		for _, name := range []string{"a", "b", "c", "d"} {
			mustStart(t, s, supervise.Spec{Name: name, Worker: fails(errBoom)})
		}
		time.Sleep(12 * time.Hour)
		if got := statusOf(t, s, "a"); got.Restarts < 12*60*2 {
			t.Errorf("held up: %+v", got)
		}
		began := time.Now()
		mustStop(t, s)
		if took := time.Since(began); took > time.Second {
			t.Errorf("a hook that hangs held up the stop for %v", took)
		}
		close(release)
		synctest.Wait()
		missed := len(all) + len(all) - seen // by the one who never reads, and by the hook
		if seen < 1000 || seen > 1100 || s.DroppedEvents() != uint64(missed) {
			t.Errorf("of %d events the hook saw %d, %d were dropped", len(all), seen, s.DroppedEvents())
		}
	})
}

func TestHookThatPanicsBringsNobodyDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise.New(supervise.Config{OnEvent: func(supervise.Event) { panic("hook") }})
		mustStart(t, s, supervise.Spec{Name: "a", Worker: supervise.WorkerFunc(waits)})
		mustStop(t, s)
		if n := s.DroppedEvents(); n != 4 {
			t.Errorf("%d events counted as dropped, want 4", n)
		}
	})
}

func TestLastEventIsToldBeforeStopReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last supervise.State
		s := supervise.New(supervise.Config{OnEvent: func(e supervise.Event) {
			time.Sleep(10 * time.Millisecond) // a log that takes its time
			last = e.To
		}})
		mustStart(t, s, supervise.Spec{Name: "a", Worker: supervise.WorkerFunc(waits)})
		mustStop(t, s)
		if last != supervise.Stopped {
			t.Errorf("Stop returned while the log was at %v", last)
		}
	})
}

func BenchmarkRestart(b *testing.B) {
	s := supervise.New(supervise.Config{})
	done := make(chan struct{})
	runs := 0
	worker := supervise.WorkerFunc(func(ctx context.Context) error {
		if runs++; runs > b.N {
			close(done)
			<-ctx.Done()
		}
		return errBoom
	})
	spec := supervise.Spec{Name: "w", Worker: worker, Policy: supervise.Policy{Base: 1, Cap: 1}}
	b.ReportAllocs()
	if err := s.Start(b.Context(), spec); err != nil {
		b.Fatal(err)
	}
	<-done
	if err := s.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
}
