package verify

import (
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
)

// Times is what is known of the clocks that a message may be dated by: that of the
// bus, which the ids of entries have, or one like our own, of a peer that does not
// ask the bus for its time.
type Times struct {
	Bus   time.Time     // now, by the clock of the bus
	Ahead time.Duration // how far that is ahead of our own
	Set   time.Duration // by how much it was set lately; what came before goes by it as it was
}

// judge asks for the reason to refuse a message that was issued and stored at these
// times, once for each clock that may have dated it: fresh by one is fresh. The
// marks against replays last far longer than clocks may be apart.
func (t Times) judge(issued, stored time.Time, refuse func(issued, published, now time.Time) string) string {
	reason := refuse(issued, earlier(stored, t.Bus), t.Bus)
	if issued.IsZero() || reason != deadletter.ReasonStale && reason != deadletter.ReasonFuture {
		return reason
	}
	if refuse(issued.Add(t.Ahead), earlier(stored, t.Bus), t.Bus) == "" {
		return ""
	}
	before := t.Bus.Add(-t.Set)
	if t.Set != 0 && refuse(issued, earlier(stored, before), before) == "" {
		return ""
	}
	return reason
}

// Published is when a message was stored, by the clock of the bus.
func (t Times) Published(stored time.Time) time.Time { return earlier(stored, t.Bus) }

// Issued is when a message was issued, by the clock that dated its storing; zero when it
// does not tell.
func (t Times) Issued(issued, stored time.Time) time.Time {
	if issued.IsZero() {
		return issued
	}
	return t.Published(stored).Add(-t.Age(issued, stored))
}

// Age is how long before its storing a message was issued, by whichever of the clocks that
// may have dated it that is least.
func (t Times) Age(issued, stored time.Time) time.Duration {
	age := earlier(stored, t.Bus).Sub(issued)
	for _, other := range [...]time.Duration{age - t.Ahead, earlier(stored, t.Bus.Add(-t.Set)).Sub(issued)} {
		if other.Abs() < age.Abs() {
			age = other
		}
	}
	return age
}

// earlier is the time in an id, unless that lies in the future: writers may choose
// ids, and one from the future ages nothing that follows it.
func earlier(stored, now time.Time) time.Time {
	if stored.After(now) {
		return now
	}
	return stored
}
