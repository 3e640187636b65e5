package supervise

import (
	"context"
	"errors"
	"testing"
	"time"
)

// These tests hold still what in service happens in one instant.

// admitted is a worker that waits to be ready, and that nobody owns yet.
func admitted(t *testing.T, s *Supervisor, run WorkerFunc) *worker {
	t.Helper()
	w, err := s.admit(t.Context(), Spec{Name: "w", Worker: run, AwaitReady: true})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSupervisorThatLostAWorkerIsNotAlive(t *testing.T) {
	s := New(Config{})
	w := admitted(t, s, func(context.Context) error { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.Alive(ctx) {
		t.Error("alive although an owner does not answer")
	}
	go w.own()
	if !s.Alive(t.Context()) {
		t.Error("not alive although the owner answers")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWorkerStoppedBeforeItsFirstRunIsNotRun(t *testing.T) {
	s := New(Config{})
	ran := false
	w := admitted(t, s, func(context.Context) error { ran = true; return nil })
	s.Interrupt()
	w.own()
	if got := w.snapshot(); ran || got.State != Stopped || !got.StartedAt.IsZero() {
		t.Errorf("ran %v, status %+v", ran, got)
	}
	if err := w.awaitReady(t.Context(), time.Second); !errors.Is(err, ErrStopped) {
		t.Errorf("whoever started it was told %v", err)
	}
}

// Ready and the end of the run come at once, and the end is seen first.
func TestReadyIsNotOvertakenByTheEnd(t *testing.T) {
	s := New(Config{})
	w := admitted(t, s, nil)
	w.move(Starting, nil, 0)
	r := newRun(w.fetch, w.work, true)
	defer r.end()
	w.seeReady(r.ready)
	if got := w.state(); got != Starting {
		t.Errorf("%v before it was ready", got)
	}
	Ready(&r.fetch)
	w.seeReady(r.ready)
	if got := w.state(); got != Running {
		t.Errorf("%v after it was ready", got)
	}
	w.settleStopped(nil)
	for range 50 { // both channels are closed now, and select takes either
		if err := w.awaitReady(t.Context(), time.Second); err != nil {
			t.Fatalf("a worker that was ready counts as never ready: %v", err)
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
