// Package supervisetest holds the test that every supervised worker passes.
package supervisetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

const (
	goroutines = 10
	rounds     = 50
	// backlog holds every event of a worker's rounds.
	backlog = 100 * rounds
	// lateness is how long an interrupted worker may take to return.
	lateness = 10 * time.Second
)

// Stress starts and stops workers, 10 at once, 50 times each, with stops before, during and after the start and a
// second signal now and then. Run it under the race detector, in a package whose TestMain looks for leaked goroutines.
//
// newWorker is called once for each of the 10; its Run is then called again and again on the same value, as a
// supervisor does. The worker passes when it never fails, never panics, returns whenever it is told to and returns no
// error when it was told: so give it what it needs to run.
func Stress(t testing.TB, newWorker func() supervise.Worker) {
	t.Helper()
	var all sync.WaitGroup
	for i := range goroutines {
		worker := newWorker()
		all.Go(func() {
			if err := stress(fmt.Sprint("worker", i), worker); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// stress puts one worker through its rounds, all but the last on one supervisor.
func stress(name string, worker supervise.Worker) error {
	s := supervise.New(supervise.Config{})
	events, unsubscribe := s.Subscribe(backlog)
	defer unsubscribe()
	if err := s.StopWorker(context.Background(), name); err != nil {
		return fmt.Errorf("stop without start: %w", err)
	}
	spec := supervise.Spec{Name: name, Worker: worker}
	for i := range rounds {
		if err := round(s, spec, i); err != nil {
			return fmt.Errorf("round %d: %w", i+1, errors.Join(err, faults(events)))
		}
	}
	for range 2 {
		if err := s.Stop(context.Background()); err != nil {
			return fmt.Errorf("last stop: %w", err)
		}
	}
	if err := faults(events); err != nil {
		return err
	}
	return hurried(spec)
}

// round starts a worker and stops it; in odd rounds a stop races the start.
func round(s *supervise.Supervisor, spec supervise.Spec, i int) error {
	var racing sync.WaitGroup
	var early error
	if i%2 == 1 {
		racing.Go(func() { early = s.StopWorker(context.Background(), spec.Name) })
	}
	err := s.Start(context.Background(), spec)
	racing.Wait()
	if errors.Is(err, supervise.ErrStopped) {
		err = nil // the stop came first
	}
	return errors.Join(err, early, s.StopWorker(context.Background(), spec.Name))
}

// hurried stops a worker by the second signal: both contexts end at once.
func hurried(spec supervise.Spec) error {
	s := supervise.New(supervise.Config{})
	events, unsubscribe := s.Subscribe(backlog)
	defer unsubscribe()
	if err := s.Start(context.Background(), spec); err != nil {
		return err
	}
	s.Interrupt()
	err := s.Stop(context.Background())
	if errors.Is(err, supervise.ErrAbandoned) {
		err = comesBack(events, err)
	}
	if err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	return faults(events)
}

// comesBack waits for a worker that did not return within the moment that an interrupt
// leaves: on a busy machine its goroutine may not have run at all.
func comesBack(events <-chan supervise.Event, abandoned error) error {
	late := time.NewTimer(lateness)
	defer late.Stop()
	for {
		select {
		case <-late.C:
			return abandoned
		case e := <-events:
			if e.To == supervise.Abandoned {
				continue
			}
			if err := fault(e); err != nil || e.To == supervise.Stopped {
				return err
			}
		}
	}
}

// faults are the failures among the events that have come. A subscriber has every
// event of a worker before a stop of that worker returns; a hook may come later.
func faults(events <-chan supervise.Event) error {
	var seen []error
	for len(events) > 0 {
		seen = append(seen, fault(<-events))
	}
	return errors.Join(seen...)
}

func fault(e supervise.Event) error {
	if e.Err == nil {
		return nil
	}
	return fmt.Errorf("%s, %s to %s: %w\n%s", e.Worker, e.From, e.To, e.Err, e.Stack)
}
