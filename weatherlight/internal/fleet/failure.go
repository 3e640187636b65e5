package fleet

import (
	"slices"
	"time"
)

// failureDetector decides which instances are dead. While the bus is away nobody can
// renew a lease, so the members after it are no proof: for a whole lease, who is not
// among them has the time to come back.
type failureDetector struct {
	answered    time.Time // when the last renewal was answered
	interrupted bool      // a renewal has failed since
	doubtful    time.Time // until then nobody is taken for dead
	absent      []string  // no members, and not known to be dead
}

// detect returns the instances that have left for good. An answer that is
// overdue counts as an interruption: the last renewal of another instance may
// have been a pause before ours.
func (d *failureDetector) detect(before, now []string, answered time.Time) []string {
	overdue := !d.answered.IsZero() && answered.Sub(d.answered) >= TTL-leaderRenewal
	if d.interrupted || overdue {
		d.doubtful = answered.Add(TTL)
	}
	d.answered, d.interrupted = answered, false
	missing := slices.DeleteFunc(slices.Concat(d.absent, before), func(name string) bool { return slices.Contains(now, name) })
	if answered.Before(d.doubtful) {
		d.absent = missing
		return nil
	}
	d.absent = nil
	return missing
}
