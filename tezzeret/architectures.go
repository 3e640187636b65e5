package tezzeret

import (
	"fmt"
	"slices"
)

// architecture is how one blueprint is built.
type architecture struct {
	// build composes the network from the graph's input, which is the slot in
	// the view below, and returns its output in the same view.
	build func(g *graph) string

	// view is how the architecture looks at a slot.
	view view

	// formula and reference document the kernel, in its metadata too.
	formula, reference string

	// refuses says why a slot makes no sense here, "" when it does.
	refuses func(s Slot, params map[string]float64) string

	// poisons marks a stressor whose output is not finite on purpose.
	poisons bool
}

// refusal is why the architecture cannot be built for a slot, or "".
func (a architecture) refusal(s Slot, params map[string]float64) string {
	if s.Kind() == "" {
		return fmt.Sprintf("slot %+v is neither features, nor a sequence, nor an image", s)
	}
	if a.refuses == nil {
		return ""
	}
	return a.refuses(s, params)
}

// architectureOf returns the architecture that a blueprint's name promises.
func architectureOf(name string) (architecture, bool) {
	for _, family := range architectureFamilies() {
		if a, ok := family()[name]; ok {
			return a, true
		}
	}
	return architecture{}, false
}

// architectureFamilies are the tables of all architectures.
func architectureFamilies() []func() map[string]architecture {
	return []func() map[string]architecture{
		pointwiseArchitectures, denseArchitectures, convolutions, attentions, experiments, stressors,
	}
}

// gridOf is the grid of positions that a slot has in a view.
func gridOf(s Slot, v view) []int {
	g := newGraph(s, nil, nil)
	g.enter(v)
	return g.grid
}

// maxAttended bounds the positions that attend to each other: the scores grow
// with the square.
const maxAttended = 512

// atMost refuses slots of more positions than limit.
func atMost(limit int, v view) func(Slot, map[string]float64) string {
	return func(s Slot, _ map[string]float64) string {
		if n := volume(gridOf(s, v)); n > limit {
			return fmt.Sprintf("compares every position with every other; the slot %s has %d, at most %d are built",
				s, n, limit)
		}
		return ""
	}
}

// noTime refuses images.
func noTime(s Slot, _ map[string]float64) string {
	if s.Kind() == KindImage {
		return fmt.Sprintf("has causal order in time; the slot %s has no time axis", s)
	}
	return ""
}

// tooSmallForPyramid refuses slots that cannot be halved often enough.
func tooSmallForPyramid(s Slot, params map[string]float64) string {
	levels := count(params["levels"])
	if least := 1 << (levels - 1); slices.Min(gridOf(s, inChannels)) < least {
		return fmt.Sprintf("a pyramid of %d levels wants %d positions along each axis; the slot %s has fewer",
			levels, least, s)
	}
	return ""
}

// maxSampled bounds the positions of a deformable convolution, whose sampling
// is a matrix over all positions.
const maxSampled = 196
