package simtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

// What the policy promises, written down again so that the engine is not asked about itself.
const (
	firstDelay    = time.Second
	longestDelay  = 30 * time.Second
	healthyAfter  = time.Minute
	budget        = 10
	budgetWindow  = 5 * time.Minute
	startsAllowed = 5
	startsWindow  = 10 * time.Second
)

// transitions are the moves that a worker may make.
var transitions = [...][]supervise.State{
	supervise.Created: {supervise.Starting, supervise.Stopped},
	supervise.Starting: {supervise.Running, supervise.BackingOff, supervise.Degraded, supervise.Stopping,
		supervise.Finished, supervise.Failed},
	supervise.Running: {supervise.Running, supervise.BackingOff, supervise.Degraded, supervise.Stopping,
		supervise.Finished, supervise.Failed},
	supervise.BackingOff: {supervise.Starting, supervise.Stopping},
	supervise.Degraded:   {supervise.Starting, supervise.Stopping},
	supervise.Stopping:   {supervise.Stopped, supervise.Abandoned},
	supervise.Stopped:    {},
	supervise.Finished:   {},
	supervise.Failed:     {},
	supervise.Abandoned:  {supervise.Stopped},
}

// model is what the policy must have come to for one worker.
type model struct {
	streak   int
	failures []time.Time
	circuit  supervise.Circuit
	starts   []time.Time // the last few
}

// recover is what 60 s of health forgive.
func (m *model) recover() {
	if m.circuit != supervise.Closed {
		m.failures = nil
	}
	m.streak, m.circuit = 0, supervise.Closed
}

// fail counts a failure and returns the longest delay that may follow.
func (m *model) fail(now time.Time) time.Duration {
	m.streak++
	m.failures = slices.DeleteFunc(m.failures, func(at time.Time) bool { return now.Sub(at) >= budgetWindow })
	m.failures = append(m.failures, now)
	if len(m.failures) > budget || m.circuit != supervise.Closed {
		m.circuit = supervise.Open
		return longestDelay
	}
	if m.streak > 6 {
		return longestDelay
	}
	return min(firstDelay<<(m.streak-1), longestDelay)
}

// begin counts a start, and complains of one too many.
func (m *model) begin(now time.Time) error {
	if m.circuit == supervise.Open {
		m.circuit = supervise.HalfOpen
	}
	m.starts = append(m.starts, now)
	if n := len(m.starts); n > startsAllowed {
		m.starts = m.starts[n-startsAllowed-1:]
		if span := now.Sub(m.starts[0]); span <= startsWindow {
			return fmt.Errorf("%d starts in %v", startsAllowed+1, span)
		}
	}
	return nil
}
