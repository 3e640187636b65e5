package alert

import (
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

// NotAfter is the alert with nothing that was later than now, as it is where a clock was set back, or
// where another goes.
func (a Alert) NotAfter(now time.Time) Alert {
	setback.NotAfter(now, &a.Since, &a.Fired, &a.Ended, &a.Seen, &a.Heard, &a.Held, &a.Gone)
	return a
}

// NotAfter has no alert say anything that was later than now.
func (t *Tracker) NotAfter(now time.Time) {
	for _, a := range t.alerts {
		*a = a.NotAfter(now)
	}
}
