package cadence

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Phase is the Clock of a process: the multiples of a period on the clock, moved by
// a phase that belongs to its name. All that goes by one phase falls together, so an
// idle process wakes up once for all of it, which is most of what idling costs.
// Processes with names of their own come at different moments, so a server does not
// hear from all of them at once.
type Phase struct{ offset time.Duration }

// phaseSpread is what phases are spread over: every usual period is a part of it.
const phaseSpread = time.Hour

// PhaseOf is the phase of a name.
func PhaseOf(name string) Phase {
	sum := sha256.Sum256([]byte(name))
	return Phase{time.Duration(binary.BigEndian.Uint64(sum[:]) % uint64(phaseSpread))}
}

// Until is the time until the next beat of a period, or the one after it when
// that is so near that this may be its own beat, a little early.
func (p Phase) Until(period time.Duration) time.Duration {
	now := time.Now().Add(-p.offset).Round(0)
	wait := now.Truncate(period).Add(period).Sub(now)
	if wait < period/8 {
		wait += period
	}
	return wait
}

// Timer goes off at a beat of its period.
type Timer struct {
	*time.Timer

	phase  Phase
	period time.Duration
}

// NewTimer is set to the next beat of a period.
func (p Phase) NewTimer(period time.Duration) *Timer {
	return &Timer{time.NewTimer(p.Until(period)), p, period}
}

// Again sets the timer to the beat after this one.
func (t *Timer) Again() { t.Reset(t.phase.Until(t.period)) }
