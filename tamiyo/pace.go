package tamiyo

import (
	"time"

	"github.com/esper-lite/weatherlight/trainer"
)

// pace is how often a run's trainer reports, by the bus's clock.
type pace struct {
	Stored   int64 `json:"stored_at_ms,omitempty"` // its last report, since 1970
	Interval int64 `json:"interval_ms,omitempty"`  // between two of them, smoothed; 0: not known
}

// after is the pace once a report was stored then. What is late or repeated tells nothing, and
// an outage counts for little of its length.
func (p pace) after(stored time.Time) pace {
	at, passed := stored.UnixMilli(), time.Duration(stored.UnixMilli()-p.Stored)*time.Millisecond
	switch {
	case p.Stored == 0:
		return pace{Stored: at}
	case passed <= 0:
		return p
	case p.Interval != 0:
		passed = min(passed, 2*p.patience())
	}
	return pace{Stored: at, Interval: trainer.Interval(p.interval(), passed).Milliseconds()}
}

func (p pace) interval() time.Duration { return time.Duration(p.Interval) * time.Millisecond }

// patience is how long a command of the run may take to show.
func (p pace) patience() time.Duration { return trainer.Patience(p.interval()) }
