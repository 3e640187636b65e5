package oona

import (
	"time"
)

// resealShare is the part of a window of freshness that an answer may wait for
// the bus, before it is signed anew.
const resealShare = 4

// resealAfter is how long an answer may wait for the bus with its signature: an
// outage must not make it stale before it is stored.
func (c Config) resealAfter() time.Duration {
	after := 15 * time.Second
	for _, window := range []time.Duration{c.FreshnessWindow, c.ControlWindow} {
		if window > 0 {
			after = min(after, window/resealShare)
		}
	}
	return after
}

// reseal signs anew the answers that have waited for too long.
func (c *Client) reseal(batch []outcome, now time.Time) {
	limit := now.Add(-c.cfg.resealAfter())
	for _, o := range batch {
		for i, answer := range o.answers {
			if answer.Sealed.Before(limit) {
				o.answers[i] = c.sealer.Renew(answer, now)
			}
		}
	}
}
