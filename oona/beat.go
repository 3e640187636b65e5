package oona

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Rhythm says when a process does what it does again and again: at the multiples
// of a period on the clock, moved by a phase that belongs to its name. All that
// goes by one rhythm falls together, so an idle process wakes up once for all of
// it, which is most of what idling costs. Processes with names of their own come
// at different moments, so the bus does not hear from all of them at once.
type Rhythm struct{ phase time.Duration }

// rhythmSpread is what phases are spread over: every usual period is a part of it.
const rhythmSpread = time.Hour

// RhythmOf is the rhythm of a name. A client goes by that of its consumer.
func RhythmOf(name string) Rhythm {
	sum := sha256.Sum256([]byte(name))
	return Rhythm{time.Duration(binary.BigEndian.Uint64(sum[:]) % uint64(rhythmSpread))}
}

// Until is the time until the next beat of a period, or the one after it when
// that is so near that this may be its own beat, a little early.
func (r Rhythm) Until(period time.Duration) time.Duration {
	now := time.Now().Add(-r.phase).Round(0)
	wait := now.Truncate(period).Add(period).Sub(now)
	if wait < period/8 {
		wait += period
	}
	return wait
}

// beat is a timer that goes off at the beats of its period: the ends of the reads
// that found nothing fall together with it.
type beat struct {
	*time.Timer

	rhythm Rhythm
	period time.Duration
}

func (r Rhythm) newBeat(period time.Duration) *beat {
	return &beat{time.NewTimer(r.Until(period)), r, period}
}

// again sets the timer to the next beat.
func (b *beat) again() { b.Reset(b.rhythm.Until(b.period)) }
