// Package setback is what is done about clocks that are set back: that of who says something, and that by which all
// is judged.
package setback

import "time"

// lateness is for how long what was said before the last is late.
const lateness = time.Minute

// Late says that something was overtaken by the last that was heard: it was said before that by the sender's clock, and
// heard behind it by ours. When all is for a while, the sender's clock was set back, and nothing is late.
func Late(said, heard, lastSaid, lastHeard time.Time) bool {
	return said.Before(lastSaid) && heard.Sub(lastHeard) < lateness
}

// NotAfter moves to now what is noted of a time to come, as it must be where our clock was set back: what comes would
// be taken for late until then.
func NotAfter(now time.Time, noted ...*time.Time) {
	for _, at := range noted {
		if at.After(now) {
			*at = now
		}
	}
}
