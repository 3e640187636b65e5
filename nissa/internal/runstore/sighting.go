package runstore

import "time"

// Sighting is the newest sign of life of one, and since when there was no other by the clock of who looks: so
// clocks need not agree.
type Sighting[B comparable] struct {
	Beat  B
	Since time.Time
}

// Next is the sighting when a beat is seen now.
func (s Sighting[B]) Next(beat B, now time.Time) Sighting[B] {
	if s.Beat == beat && !s.Since.IsZero() {
		return s
	}
	return Sighting[B]{beat, now}
}
