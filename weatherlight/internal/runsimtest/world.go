package runsimtest

import (
	"math/rand/v2"
	"slices"
	"time"
)

// epoch is when every simulation begins. Redis has run for a while by then.
var epoch = time.Date(2026, time.March, 1, 6, 0, 0, 0, time.UTC)

// world is time, chance, and what is going to happen. Nothing in it runs beside
// anything else: it calls one event after the other.
type world struct {
	now   time.Time
	rand  *rand.Rand
	queue []event // in the order of their times, and of planning those that have the same
	over  bool    // nothing is to happen any more
}

func newWorld(seed uint64) *world {
	return &world{now: epoch, rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

// event is one thing that is going to happen.
type event struct {
	at time.Time
	do func()
}

// after lets something happen in a while.
func (w *world) after(wait time.Duration, do func()) {
	at := w.now.Add(max(wait, 0))
	place, _ := slices.BinarySearchFunc(w.queue, at, func(e event, at time.Time) int {
		if e.at.After(at) {
			return 1
		}
		return -1 // also when it is at the same time
	})
	w.queue = slices.Insert(w.queue, place, event{at: at, do: do})
}

// run lets time pass until done says so, nothing is left to happen, or the bound
// of simulated time is reached.
func (w *world) run(bound time.Duration, done func() bool) {
	end := w.now.Add(bound)
	for len(w.queue) > 0 && !done() {
		if w.queue[0].at.After(end) {
			w.now = end
			return
		}
		next := w.queue[0]
		w.queue[0], w.queue = event{}, w.queue[1:]
		w.now = next.at
		next.do()
	}
}

// chance is true with a probability.
func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

// between draws a duration.
func (w *world) between(least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(w.rand.Int64N(int64(most-least)))
}

// pick draws one of several.
func pick[T any](w *world, choices ...T) T { return choices[w.rand.IntN(len(choices))] }
