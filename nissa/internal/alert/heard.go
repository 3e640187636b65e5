package alert

import "time"

// Heard is the time in which all that was said was heard. Of what was said at another time nobody knows,
// and nobody was silent then.
type Heard struct{ Since, Until time.Time }

// silence is that of who was heard last at a time, and when it began.
func (h Heard) silence(last time.Time) (began time.Time, length time.Duration) {
	if began = last; h.Since.After(last) {
		began = h.Since
	}
	return began, h.Until.Sub(began)
}
