package alert

import (
	"slices"
	"time"
)

// Heard is the time in which all that was said was heard. Of what was said at another time nobody knows,
// and nobody was silent then.
type Heard struct{ Since, Until time.Time }

// silence is that of who spoke last at a time by his clock and was heard at one by ours, and when it
// began. Whose clock is behind is not silent for that.
func (h Heard) silence(spoke, heard time.Time) (began time.Time, length time.Duration) {
	began = slices.MaxFunc([]time.Time{spoke, heard, h.Since}, time.Time.Compare)
	return began, h.Until.Sub(began)
}
