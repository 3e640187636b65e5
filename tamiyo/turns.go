package tamiyo

import (
	"cmp"
	"slices"
)

// Turns are the free ones of a report's slots, in the order in which they take their turn: by how
// often something was tried there, whatever came of it, times the positions at which the same
// weights are at work. At a slot of many a seed learns less for its work, and is the less worth a
// trial.
func (r *Record) Turns(slots map[string][]int) []string {
	turns := make(map[string]float64, len(slots))
	names := make([]string, 0, len(slots))
	for name, shape := range slots {
		if isWord(name) && !r.occupied(name) {
			turns[name] = float64(1+r.tried(name)) * positions(shape)
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(turns[a], turns[b]), cmp.Compare(a, b))
	})
	return names
}
