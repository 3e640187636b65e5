package simtest

import (
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight"
)

const (
	softStop  = 5 * time.Second
	hardStop  = 5 * time.Second
	bootBound = 30 * time.Second
	stopBound = 30 * time.Second
	// stopGrace is what a stop may take beyond its bound: each of some ten steps and twenty workers has a moment.
	stopGrace      = 8 * time.Second
	interruptBound = 8 * time.Second
	// stepGrace is what a boot step has, once its bound has passed, before the stop goes on without it.
	stepGrace = 500 * time.Millisecond
	// moment is what an interrupted worker has to return, however much of its bounds is left.
	moment = 200 * time.Millisecond
)

// stopping checks that workers are stopped in reverse: each only when all that started after it have settled.
func (a *auditor) stopping(r *record, e supervise.Event) {
	r.stoppingAt = e.Time
	if a.interrupted || len(a.overran) > 0 {
		return
	}
	for _, name := range a.started[slices.Index(a.started, r.name)+1:] {
		if s := a.records[name].state; !s.AtRest() && s != supervise.Abandoned {
			a.violateLocked("%s is stopped before %s, which is %s", r.name, name, s)
		}
	}
}

// settled checks how a stop ended: in time, and in abandonment exactly if the worker heard nothing.
func (a *auditor) settled(r *record, e supervise.Event) {
	if e.From == supervise.Abandoned {
		return // it came back; when, nobody promised
	}
	took := e.Time.Sub(r.stoppingAt)
	if took > softStop+hardStop+moment {
		a.violateLocked("%s took %v to stop", r.name, took)
	}
	// The bound of a boot step may cut short whoever comes later.
	if r.lingering && a.orderly && !a.interrupted && a.slow == 0 && took != softStop {
		a.violateLocked("%s had %v for the work in hand, expected %v", r.name, took, softStop)
	}
	if took > 0 {
		a.slow++
	}
	if e.To == supervise.Abandoned {
		a.counts.Abandoned++
		a.abandoned = append(a.abandoned, r.name)
		if !r.deafUntil.After(e.Time) {
			a.violateLocked("%s was abandoned although it heeds its contexts", r.name)
		}
	}
}

// booted checks the trace of a boot against the list: all of it, or all until the step that failed.
func (a *auditor) booted(steps []weatherlight.Step, trace []string, failed bool) {
	if !failed && len(trace) != len(steps) {
		a.violate("boot took %d of %d steps", len(trace), len(steps))
	}
	for i, name := range trace {
		if i >= len(steps) || steps[i].Name != name {
			a.violate("boot step %d was %q", i+1, name)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var want []string
	for _, step := range steps {
		for _, w := range step.Workers {
			want = append(want, w.Name)
		}
	}
	if n := len(a.started); n > len(want) || !slices.Equal(a.started, want[:n]) || !failed && n != len(want) {
		a.violateLocked("workers started in the order %v", a.started)
	}
}

// stopped checks a stop, or a roll-back, as a whole.
func (a *auditor) stopped(up, down []string, err error, took, bound time.Duration) {
	if !slices.Equal(reversed(up), down) {
		a.violate("steps %v were taken down as %v", up, down)
	}
	if took > bound {
		a.violate("the stop took %v", took)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	named := slices.Compact(slices.Sorted(slices.Values(unstopped(err))))
	if want := slices.Sorted(slices.Values(slices.Concat(a.abandoned, a.overran))); !slices.Equal(named, want) {
		a.violateLocked("the stop named %v, expected %v", named, want)
	}
	for _, name := range a.started {
		if s := a.records[name].state; !s.AtRest() && s != supervise.Abandoned {
			a.violateLocked("%s is %s after the stop", name, s)
		}
	}
}

func reversed[T any](list []T) []T {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// unstopped collects the names out of an error tree.
func unstopped(err error) []string {
	switch e := err.(type) { //nolint:errorlint // it walks the whole tree itself
	case *supervise.UnstoppedError:
		return e.Names
	case *supervise.BootError:
		return append(unstopped(e.Err), unstopped(e.Teardown)...)
	case interface{ Unwrap() []error }:
		var names []string
		for _, part := range e.Unwrap() {
			names = append(names, unstopped(part)...)
		}
		return names
	case interface{ Unwrap() error }:
		return unstopped(e.Unwrap())
	}
	return nil
}

// overrun notes a boot step whose teardown outlasts its bound: it is named, and from there on the order is off.
func (a *auditor) overrun(step string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.overran = append(a.overran, step)
	a.counts.Overruns++
}

// inspect compares the status table with the events and with what the bodies saw. Nobody may be moving meanwhile.
func (a *auditor) inspect(table []supervise.Status, dropped uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if dropped > 0 {
		a.violateLocked("%d events were dropped", dropped)
	}
	for i, s := range table {
		r := a.records[s.Name]
		if i >= len(a.started) || a.started[i] != s.Name {
			a.violateLocked("the status table lists %s at %d", s.Name, i)
		}
		if s.State != r.state || s.Circuit != r.circuit || s.Restarts != r.begun-1 || s.Streak != r.streak {
			a.violateLocked("%s: status %s, %s, %d restarts, streak %d; events say %s, %s, %d, %d", s.Name,
				s.State, s.Circuit, s.Restarts, s.Streak, r.state, r.circuit, r.begun-1, r.streak)
		}
		if up := s.State == supervise.Running; up && s.Uptime != time.Since(r.readyAt) {
			a.violateLocked("%s: is up for %v, expected %v", s.Name, s.Uptime, time.Since(r.readyAt))
		}
		// A start that is not preceded by an end of its own would be somebody else's failure.
		running := s.State == supervise.Starting || s.State == supervise.Running || s.State == supervise.Stopping ||
			s.State == supervise.Abandoned
		if r.runs != r.begun || running != (r.runs == r.ends+1) {
			a.violateLocked("%s is %s: %d starts were told, the worker saw %d and %d ends",
				s.Name, s.State, r.begun, r.runs, r.ends)
		}
	}
}

// close adds a process that is over to the book.
func (a *auditor) close(order []weatherlight.Step) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, step := range order {
		for _, w := range step.Workers {
			a.digest = mix(a.digest, a.records[w.Name].digest)
		}
	}
}
