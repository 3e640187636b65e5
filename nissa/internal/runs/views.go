package runs

import (
	"slices"
	"time"
)

// Interval is a time that a seed was in a stage.
type Interval struct {
	Stage string     `json:"stage"`
	From  time.Time  `json:"from"`
	To    *time.Time `json:"to"` // null: it is in it
}

// Intervals are the times that the events of one seed tell of. What several told of, or in
// another order, is one.
func Intervals(events []Event) []Interval {
	stages := slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Kind != KindStage })
	slices.SortStableFunc(stages, func(a, b Event) int { return compareStages(a.At, a.Name, b.At, b.Name) })
	intervals := []Interval{}
	for _, e := range stages {
		last := len(intervals) - 1
		if last >= 0 && intervals[last].Stage == e.Name {
			continue
		}
		if last >= 0 {
			at := e.At
			intervals[last].To = &at
		}
		intervals = append(intervals, Interval{Stage: e.Name, From: e.At})
	}
	return intervals
}

// Thinner leaves of a long curve as many of its rows as show its shape: of each part the
// lowest and the highest, in their order.
type Thinner[T any] struct {
	value   func(*T) Number
	part    int // rows of a part
	in      int // rows of the part so far
	low     placed[T]
	high    placed[T]
	last    placed[T]
	thinned []T
}

type placed[T any] struct {
	row T
	at  int
}

// NewThinner is for so many rows, of which at most so many are to be left; 0 leaves all.
func NewThinner[T any](rows int64, most int, value func(*T) Number) *Thinner[T] {
	t := &Thinner[T]{value: value, part: 1, thinned: []T{}}
	if most > 0 && rows > int64(most) {
		parts := int64(max(most/2, 1))
		t.part = int((rows + parts - 1) / parts)
	}
	return t
}

// Add takes the next row.
func (t *Thinner[T]) Add(row T) {
	if t.part == 1 {
		t.thinned = append(t.thinned, row)
		return
	}
	here := placed[T]{row, t.in}
	value := t.value(&row)
	t.last = here
	if t.in == 0 || value < t.value(&t.low.row) || !t.value(&t.low.row).Known() {
		t.low = here
	}
	if t.in == 0 || value > t.value(&t.high.row) || !t.value(&t.high.row).Known() {
		t.high = here
	}
	if t.in++; t.in == t.part {
		t.close()
	}
}

func (t *Thinner[T]) close() {
	first, second := t.low, t.high
	if first.at > second.at {
		first, second = second, first
	}
	t.thinned = append(t.thinned, first.row)
	if second.at != first.at {
		t.thinned = append(t.thinned, second.row)
	}
	t.in = 0
}

// Rows are those that are left, and the last of all.
func (t *Thinner[T]) Rows() []T {
	if t.part == 1 {
		return t.thinned
	}
	if t.in > 0 {
		t.close()
	}
	if t.last.at != max(t.low.at, t.high.at) {
		t.thinned = append(t.thinned, t.last.row)
	}
	return t.thinned
}
