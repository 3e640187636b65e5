package oona

import "time"

// beat is a timer that goes off at the multiples of its period on the clock. The
// beats of a process so fall together, and with them the ends of the reads that
// found nothing: an idle process wakes up once for all of them.
type beat struct {
	*time.Timer

	period time.Duration
}

func newBeat(period time.Duration) *beat {
	return &beat{time.NewTimer(untilBeat(period)), period}
}

// again sets the timer to the next beat.
func (b *beat) again() { b.Reset(untilBeat(b.period)) }

// untilBeat is the time until the next multiple of a period, or the one after it
// when that is so near that this may be its own beat, a little early.
func untilBeat(period time.Duration) time.Duration {
	wait := time.Until(time.Now().Truncate(period).Add(period))
	if wait < period/8 {
		wait += period
	}
	return wait
}
