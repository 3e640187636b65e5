package runsimtest

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// epoch is when every simulation begins. Redis has run for a while by then.
var epoch = time.Date(2026, time.March, 1, 6, 0, 0, 0, time.UTC)

// world is time, chance, and what is going to happen. Nothing in it runs beside
// anything else: it calls one event after the other.
type world struct {
	now   time.Time
	rand  *rand.Rand
	queue events
	seq   uint64
	over  bool // nothing is to happen any more
}

func newWorld(seed uint64) *world {
	return &world{now: epoch, rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

// event is one thing that is going to happen.
type event struct {
	at  time.Time
	seq uint64 // of two at the same time the one that was planned first
	do  func()
}

type events []event

func (e *events) Len() int { return len(*e) }
func (e *events) Less(i, j int) bool {
	a, b := &(*e)[i], &(*e)[j]
	if a.at.Equal(b.at) {
		return a.seq < b.seq
	}
	return a.at.Before(b.at)
}
func (e *events) Swap(i, j int) { (*e)[i], (*e)[j] = (*e)[j], (*e)[i] }
func (e *events) Push(x any)    { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*e = old[:len(old)-1]
	return last
}

// after lets something happen in a while.
func (w *world) after(wait time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{at: w.now.Add(max(wait, 0)), seq: w.seq, do: do})
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
		next := heap.Pop(&w.queue).(event)
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
