package shmsignal

import (
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Trigger is a signal that was found raised, or several that came close together.
type Trigger struct {
	Level   leyline.EmergencyLevel // of an emergency
	Reason  string                 // of an emergency, at most MaxReason bytes
	AtMs    uint64                 // when, on this machine's monotonic clock; 0 is unknown
	Latency time.Duration          // from then until it was seen
	FoundAt time.Time              // when it was taken from the segment: it tells those of unknown time apart
	Count   int                    // signals that it stands for
}

// MaxReason is how many bytes of a reason fit into a segment.
const MaxReason = emergencySize - emergencyHeader

// merged stands for both triggers: the higher level wins, and of equal ones the
// earlier.
func (t Trigger) merged(later Trigger) Trigger {
	count := t.Count + later.Count
	if later.Level > t.Level {
		t = later
	}
	t.Count = count
	return t
}

// coalescer keeps a storm of triggers apart by a cooldown. The first goes through,
// and so does one of a higher level; the others become one that goes through when
// the cooldown is over.
type coalescer struct {
	cooldown time.Duration

	lastAt    time.Time
	lastLevel leyline.EmergencyLevel
	held      *Trigger
}

// take returns the trigger to report now, or nil when it is held.
func (c *coalescer) take(t Trigger, now time.Time) *Trigger {
	calm := now.Sub(c.lastAt) >= c.cooldown
	higher := t.Level > c.lastLevel
	c.keep(t)
	if !calm && !higher {
		return nil
	}
	return c.pass(now)
}

// keep holds a trigger back, together with what is held already.
func (c *coalescer) keep(t Trigger) {
	if c.held != nil {
		t = c.held.merged(t)
	}
	c.held = &t
}

// due returns what is held once the cooldown is over.
func (c *coalescer) due(now time.Time) *Trigger {
	if c.held == nil || now.Sub(c.lastAt) < c.cooldown {
		return nil
	}
	return c.pass(now)
}

func (c *coalescer) pass(now time.Time) *Trigger {
	passed := c.release()
	c.lastAt, c.lastLevel = now, passed.Level
	return passed
}

// release returns what is held, whatever the time.
func (c *coalescer) release() *Trigger {
	released := c.held
	c.held = nil
	return released
}

// wait is the time until what is held is due, and long when nothing is.
func (c *coalescer) wait(now time.Time) time.Duration {
	if c.held == nil {
		return time.Hour
	}
	return max(pollPause, c.cooldown-now.Sub(c.lastAt))
}
