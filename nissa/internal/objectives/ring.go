package objectives

import (
	"math"
	"time"
)

// Count is how many of something there were, and how many of them were bad.
type Count struct {
	Total float64 `json:"total"`
	Bad   float64 `json:"bad"`
}

// plus stays a number whatever senders count: what is kept is JSON, which has no infinity.
func (c Count) plus(other Count) Count {
	return Count{min(c.Total+other.Total, math.MaxFloat64), min(c.Bad+other.Bad, math.MaxFloat64)}
}

// share is that of the bad ones.
func (c Count) share() float64 {
	if c.Total <= 0 {
		return 0
	}
	return min(c.Bad/c.Total, 1)
}

// slot is the count of one step of time.
type slot struct {
	Step int64 `json:"step"`
	Count
}

// ring counts by steps of time, as many as it has slots.
type ring struct {
	width time.Duration
	slots []slot
}

func newRing(width time.Duration, slots int) ring { return ring{width, make([]slot, slots)} }

func (r ring) step(at time.Time) int64 { return at.UnixNano() / int64(r.width) }

// add counts. What is older than the ring is long is not counted.
func (r ring) add(at time.Time, c Count) {
	step := r.step(at)
	s := &r.slots[int(step%int64(len(r.slots)))]
	if step < s.Step {
		return
	}
	if step > s.Step {
		*s = slot{Step: step}
	}
	s.Count = s.plus(c)
}

// over is the count of a window that ends now.
func (r ring) over(now time.Time, window time.Duration) (sum Count) {
	last := r.step(now)
	steps := min(max(int64(window/r.width), 1), int64(len(r.slots)))
	for step := last - steps + 1; step <= last; step++ {
		if s := r.slots[int(step%int64(len(r.slots)))]; s.Step == step {
			sum = sum.plus(s.Count)
		}
	}
	return sum
}

// notAfter forgets steps that are still to come.
func (r ring) notAfter(now time.Time) {
	for i, s := range r.slots {
		if s.Step > r.step(now) {
			r.slots[i] = slot{}
		}
	}
}

// kept are the slots that hold something.
func (r ring) kept() (kept []slot) {
	for _, s := range r.slots {
		if s.Total != 0 {
			kept = append(kept, s)
		}
	}
	return kept
}

func (r ring) restore(kept []slot) {
	for _, s := range kept {
		if s.Step >= 0 {
			r.slots[int(s.Step%int64(len(r.slots)))] = s
		}
	}
}
