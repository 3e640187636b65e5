package weatherlight

import (
	"slices"
	"time"
)

// absence decides which instances are dead. While the bus is away nobody can
// renew a lease, so the roll after it is no proof: for a whole lease, who is not
// on it has the time to come back.
type absence struct {
	answered    time.Time // when the last beat was answered
	interrupted bool      // a beat has failed since
	doubtful    time.Time // until then nobody is taken for dead
	absent      []string  // not on the roll, and not known to be dead
}

// gone are the instances that have left the roll for good. An answer that is
// overdue counts as an interruption: the last renewal of another instance may
// have been a beat before ours.
func (a *absence) gone(before, now []string, answered time.Time) []string {
	overdue := !a.answered.IsZero() && answered.Sub(a.answered) >= leaseTTL-leadBeat
	if a.interrupted || overdue {
		a.doubtful = answered.Add(leaseTTL)
	}
	a.answered, a.interrupted = answered, false
	missing := slices.DeleteFunc(slices.Concat(a.absent, before), func(name string) bool { return slices.Contains(now, name) })
	if answered.Before(a.doubtful) {
		a.absent = missing
		return nil
	}
	a.absent = nil
	return missing
}
