package alert

import "time"

// NotAfter is the alert with nothing that was later than now, as it is where a clock was set back, or
// where another goes.
func (a Alert) NotAfter(now time.Time) Alert {
	for _, noted := range []*time.Time{&a.Since, &a.Fired, &a.Ended, &a.Seen, &a.Heard, &a.Held, &a.Gone} {
		if noted.After(now) {
			*noted = now
		}
	}
	return a
}

// NotAfter has no alert say anything that was later than now.
func (t *Tracker) NotAfter(now time.Time) {
	for _, a := range t.alerts {
		*a = a.NotAfter(now)
	}
}
