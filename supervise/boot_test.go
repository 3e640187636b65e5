package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/supervise"
)

// house is a boot list that writes down what is done to it.
type house struct {
	log   []string
	steps []supervise.Step
}

func newHouse(size int) *house {
	h := &house{}
	for i := range size {
		name := fmt.Sprint("step", i+1)
		h.steps = append(h.steps, supervise.Step{
			Name:  name,
			Start: func(context.Context) error { h.log = append(h.log, "+"+name); return nil },
			Stop:  func(context.Context) error { h.log = append(h.log, "-"+name); return nil },
		})
	}
	return h
}

// outlast lets what was abandoned end inside the bubble.
func outlast() { time.Sleep(2 * time.Hour) }

// upTo is the log of a boot that succeeded as far as step k, taken down again.
func upTo(k int) []string {
	var log []string
	for i := range k {
		log = append(log, fmt.Sprint("+step", i+1))
	}
	for i := range k {
		log = append(log, fmt.Sprint("-step", k-i))
	}
	return log
}

func TestBootRunsInOrderAndStopsBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(10)
		h.steps[3] = supervise.Step{Name: "nothing to do"}
		var told []supervise.Trace
		booted, err := supervise.Boot(t.Context(), h.steps, func(trace supervise.Trace) { told = append(told, trace) })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(told, booted.Trace()); diff != "" || len(told) != 10 || told[3].Step != "nothing to do" {
			t.Errorf("trace %v (-told +kept):\n%s", told, diff)
		}
		var all sync.WaitGroup
		for range 3 { // twice, and at once
			all.Go(func() {
				if err := booted.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		want := slices.DeleteFunc(upTo(10), func(s string) bool { return s[1:] == "step4" })
		if diff := cmp.Diff(want, h.log); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Every step fails, in every way: the steps before it are taken down backwards, and the error names it and why.
func TestFailedBootIsTakenDownAgain(t *testing.T) {
	ways := map[string]func(context.Context) error{
		"error":   func(context.Context) error { return errBoom },
		"panic":   func(context.Context) error { panic(errBoom) },
		"goexit":  func(context.Context) error { runtime.Goexit(); return nil },
		"timeout": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"deaf":    func(context.Context) error { time.Sleep(time.Hour); return errBoom },
	}
	causes := map[string]error{"error": errBoom, "goexit": supervise.ErrGoexit, "timeout": context.DeadlineExceeded,
		"deaf": supervise.ErrAbandoned}
	for way, fail := range ways {
		for k := range 6 {
			t.Run(fmt.Sprint(way, " in step ", k+1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					defer outlast()
					h, began := newHouse(6), time.Now()
					h.steps[k].Start = fail
					var told []supervise.Trace
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					booted, err := supervise.Boot(ctx, h.steps, func(trace supervise.Trace) { told = append(told, trace) })
					var failed *supervise.BootError
					if booted != nil || !errors.As(err, &failed) || failed.Step != h.steps[k].Name || failed.Teardown != nil {
						t.Fatalf("Boot = %v, %v", booted, err)
					}
					if cause := causes[way]; cause != nil && !errors.Is(err, cause) {
						t.Errorf("cause of %v is not %v", err, cause)
					}
					if diff := cmp.Diff(upTo(k), h.log); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
					if len(told) != k+1 || !errors.Is(told[k].Err, failed.Err) {
						t.Errorf("trace %v", told)
					}
					if took := time.Since(began); took > 20*time.Second {
						t.Errorf("took %v", took)
					}
					if err := booted.Stop(ctx); err != nil || booted.Trace() != nil {
						t.Errorf("Stop after a failed boot: %v", err)
					}
				})
			})
		}
	}
}

func TestBootOrderIsTheSameEveryTime(t *testing.T) {
	for range 1000 {
		h := newHouse(10)
		booted, err := supervise.Boot(t.Context(), h.steps, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := booted.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(upTo(10), h.log); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

func TestBootThatIsOverBeforeItBeganStartsNothing(t *testing.T) {
	h := newHouse(1)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	if _, err := supervise.Boot(ctx, h.steps, nil); !errors.Is(err, errBoom) || len(h.log) != 0 {
		t.Errorf("Boot = %v, did %v", err, h.log)
	}
}

func TestRollbackHasTimeAlthoughTheBootHasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flushed := false
		flush := func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				flushed = true
			case <-ctx.Done():
			}
			return nil
		}
		steps := []supervise.Step{{Name: "bus", Stop: flush}, {Name: "slow", Start: waits}, {Name: "not reached"}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := supervise.Boot(ctx, steps, nil); !errors.Is(err, context.DeadlineExceeded) || !flushed {
			t.Errorf("Boot = %v, flushed %v", err, flushed)
		}
	})
}

func TestBootErrorSaysItInOneLine(t *testing.T) {
	h := newHouse(2)
	h.steps[1].Start = func(context.Context) error { return errBoom }
	_, err := supervise.Boot(t.Context(), h.steps, nil)
	if want := `boot step "step2": boom`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	h.steps[0].Stop = func(context.Context) error { return errors.New("stuck") }
	_, err = supervise.Boot(t.Context(), h.steps, nil)
	if want := `boot step "step2": boom (and taking down: stopping "step1": stuck)`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestNoTeardownIsSkippedBecauseAnotherFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer outlast()
		h := newHouse(6)
		errFlush := errors.New("flush failed")
		h.steps[5].Stop = func(context.Context) error { return errFlush }
		h.steps[4].Stop = func(context.Context) error { panic("teardown") }
		h.steps[3].Stop = func(context.Context) error { runtime.Goexit(); return nil }
		h.steps[2].Stop = func(context.Context) error { time.Sleep(time.Hour); return nil }
		h.steps[2].StopTimeout = 2 * time.Second
		h.steps[1].Stop = func(ctx context.Context) error {
			h.log = append(h.log, "-step2")
			<-ctx.Done()
			return ctx.Err()
		}
		booted, err := supervise.Boot(t.Context(), h.steps, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.log = nil
		began := time.Now()
		err = booted.Stop(t.Context())
		var unstopped *supervise.UnstoppedError
		var thrown *supervise.PanicError
		if !errors.Is(err, errFlush) || !errors.As(err, &thrown) || !errors.Is(err, supervise.ErrGoexit) ||
			!errors.As(err, &unstopped) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop = %v, want all five failures", err)
		}
		if diff := cmp.Diff([]string{"step3"}, unstopped.Names); diff != "" || len(thrown.Stack) == 0 {
			t.Errorf("unstopped (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"-step2", "-step1"}, h.log); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if took := time.Since(began); took > 18*time.Second {
			t.Errorf("took %v, want at most 2 s and 15 s and a moment", took)
		}
	})
}

func TestTeardownsAreCalledEvenWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer outlast()
		h := newHouse(5)
		hang := func(context.Context) error { time.Sleep(time.Hour); return nil }
		h.steps[4].Stop, h.steps[2].Stop = hang, hang
		booted, err := supervise.Boot(t.Context(), h.steps, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.log = nil
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err = booted.Stop(ctx)
		if diff := cmp.Diff([]string{"-step4", "-step2", "-step1"}, h.log); diff != "" || err == nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v with a context of 3 s", took)
		}
	})
}

// A step that comes up when its boot has long failed must not stay up behind everybody's back.
func TestStepThatStartsTooLateIsTakenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up bool
		step := supervise.Step{
			Name:        "deaf",
			Start:       func(context.Context) error { time.Sleep(time.Minute); up = true; return nil },
			Stop:        func(context.Context) error { up = false; return nil },
			StopTimeout: time.Second,
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := supervise.Boot(ctx, []supervise.Step{step}, nil)
		if !errors.Is(err, supervise.ErrAbandoned) || time.Since(began) != 2*time.Second {
			t.Errorf("Boot = %v after %v", err, time.Since(began))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if up {
			t.Error("it is still up")
		}
	})
}

func TestAbandonedWorkerIsNamedThroughTheBootList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := newSupervisor(&recorder{}), make(chan struct{})
		defer close(release)
		booted, err := supervise.Boot(t.Context(), []supervise.Step{{
			Name: "consumers",
			Start: func(ctx context.Context) error {
				return s.Start(ctx, supervise.Spec{Name: "urza_prefetch", Worker: deaf(release)})
			},
			Stop: s.Stop,
		}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = booted.Stop(ctx)
		if want := `stopping "consumers": did not stop: urza_prefetch`; err == nil || err.Error() != want {
			t.Errorf("Stop = %v, want %s", err, want)
		}
	})
}
