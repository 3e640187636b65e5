package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/supervise"
)

// behaviours are the ways in which one run can end or not end.
var behaviours = map[string]supervise.WorkerFunc{
	"error":         fails(errBoom),
	"nil":           fails(nil),
	"panic":         panics("kaboom"),
	"foreign":       fails(context.Canceled),
	"permanent":     fails(supervise.Permanent(errBoom)),
	"fatal":         fails(supervise.Fatal(errBoom)),
	"short":         lasts(300*time.Millisecond, errBoom),
	"healthy":       lasts(2*time.Minute, errBoom),
	"waits":         waits,
	"ready, error":  func(ctx context.Context) error { supervise.Ready(ctx); return errBoom },
	"ready, waits":  readyThenWaits,
	"ready, minute": func(ctx context.Context) error { supervise.Ready(ctx); return lasts(time.Minute, nil)(ctx) },
	"to work end":   func(ctx context.Context) error { <-supervise.Work(ctx).Done(); return ctx.Err() },
	"deaf":          func(context.Context) error { time.Sleep(time.Minute); return nil },
}

var behaviourNames = []string{"error", "nil", "panic", "foreign", "permanent", "fatal", "short", "healthy", "waits",
	"ready, error", "ready, waits", "ready, minute", "to work end", "deaf"}

// life is what befalls a supervisor with two workers, one of them calm.
type life struct {
	seed       uint64
	runs       []string
	finite     bool
	awaitReady bool
	acts       []string
	pauses     []time.Duration
}

func drawLife(t *rapid.T) life {
	acts := rapid.SliceOfN(rapid.SampledFrom([]string{"wait", "wait", "stop worker", "start", "interrupt", "stop"}), 0, 8)
	l := life{
		seed:       rapid.Uint64().Draw(t, "seed"),
		runs:       rapid.SliceOfN(rapid.SampledFrom(behaviourNames), 1, 30).Draw(t, "runs"),
		finite:     rapid.Bool().Draw(t, "finite"),
		awaitReady: rapid.Bool().Draw(t, "await ready"),
		acts:       acts.Draw(t, "acts"),
	}
	for range l.acts {
		pause := rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 10 * time.Second, 10 * time.Minute})
		l.pauses = append(l.pauses, pause.Draw(t, "pause"))
	}
	return l
}

// live plays a life, and returns its events and the status table after it.
func (l life) live() ([]supervise.Event, []supervise.Status) {
	s := supervise.New(supervise.Config{Rand: rand.New(rand.NewPCG(l.seed, 0))})
	stream, cancel := s.Subscribe(10_000)
	scripts := make([]supervise.WorkerFunc, len(l.runs))
	for i, name := range l.runs {
		scripts[i] = behaviours[name]
	}
	wild := supervise.Spec{Name: "wild", Worker: script(scripts...), Finite: l.finite, AwaitReady: l.awaitReady}
	// A life is made of legal and illegal calls alike; what they return is other tests' matter.
	_ = s.Start(context.Background(), supervise.Spec{Name: "calm", Worker: supervise.WorkerFunc(waits)})
	_ = s.Start(context.Background(), wild)
	for i, act := range l.acts {
		time.Sleep(l.pauses[i])
		switch act {
		case "stop worker":
			_ = s.StopWorker(context.Background(), "wild")
		case "start":
			_ = s.Start(context.Background(), wild)
		case "interrupt":
			s.Interrupt()
		case "stop":
			_ = s.Stop(context.Background())
		}
	}
	_ = s.Stop(context.Background())
	time.Sleep(time.Hour) // the abandoned come back
	synctest.Wait()
	cancel()
	var events []supervise.Event
	for e := range stream {
		events = append(events, e)
	}
	return events, s.Status()
}

// Whatever befalls a worker, its events are a walk through the transition table that ends at rest, its delays are in
// bounds, it never starts more than 5 times in 10 s unless told to, and its neighbour is not restarted.
func TestAnyLifeKeepsTheRules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := drawLife(rt)
		var events []supervise.Event
		var table []supervise.Status
		synctest.Test(t, func(*testing.T) { events, table = l.live() })
		if err := errors.Join(checkWalk(events), checkTable(table)); err != nil {
			rt.Fatal(err)
		}
	})
}

func checkWalk(events []supervise.Event) error {
	at := map[string]supervise.State{}
	var starts []time.Time
	for i, e := range events {
		state := at[e.Worker]
		if e.From == supervise.Created && state.AtRest() {
			state, starts = supervise.Created, nil // started anew by the operator
		}
		if e.From != state || !e.From.CanMove(e.To) {
			return fmt.Errorf("event %d %+v does not follow %v", i, e, state)
		}
		if i > 0 && e.Time.Before(events[i-1].Time) {
			return fmt.Errorf("event %d is older than the one before", i)
		}
		at[e.Worker] = e.To
		if waiting := e.To == supervise.BackingOff || e.To == supervise.Degraded; waiting != (e.Delay != 0) {
			return fmt.Errorf("event %d %+v has a delay of %v", i, e, e.Delay)
		} else if waiting && (e.Delay < 500*time.Millisecond || e.Delay > 30*time.Second || e.Err == nil) {
			return fmt.Errorf("event %d %+v: delay out of bounds, or no reason", i, e)
		}
		if e.Worker == "wild" && e.To == supervise.Starting {
			starts = append(starts, e.Time)
			if n := len(starts); n > 5 && starts[n-1].Sub(starts[n-6]) < 10*time.Second {
				return fmt.Errorf("event %d: 6 starts within %v", i, starts[n-1].Sub(starts[n-6]))
			}
		}
	}
	return nil
}

func checkTable(table []supervise.Status) error {
	for _, status := range table {
		if !status.State.AtRest() {
			return fmt.Errorf("%s is %v an hour after the stop", status.Name, status.State)
		}
		if status.Name == "calm" && (status.Restarts != 0 || status.Streak != 0 || status.LastError != "") {
			return fmt.Errorf("the calm worker suffered: %+v", status)
		}
	}
	return nil
}

// A life is a function of its seed: what a simulation found can be played again.
func TestSameSeedSameLife(t *testing.T) {
	l := life{seed: 7, runs: []string{"error", "panic", "short", "nil", "error", "healthy", "error", "waits"},
		acts: []string{"wait"}, pauses: []time.Duration{10 * time.Minute}}
	var lives [2]string
	for i := range lives {
		synctest.Test(t, func(*testing.T) {
			events, _ := l.live()
			began := events[0].Time
			for _, e := range events {
				lives[i] += fmt.Sprintln(e.Time.Sub(began), e.Worker, e.From, e.To, e.Err, e.Delay)
			}
		})
	}
	if lives[0] != lives[1] || len(lives[0]) == 0 {
		t.Errorf("first:\n%s\nsecond:\n%s", lives[0], lives[1])
	}
}
