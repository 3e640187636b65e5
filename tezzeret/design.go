package tezzeret

import (
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// Design is how a blueprint is built, whoever may build it.
type Design struct {
	// Formula is the network in one line, Reference where it is described.
	Formula, Reference string

	// Views says, by the form of a slot, how the network looks at it. A form
	// that the blueprint makes no sense in is not listed.
	Views map[Kind]string
}

// DesignOf returns the design of a blueprint, or a *NotCompilableError that
// says why no slot and no grant makes it one.
func DesignOf(d *leyline.BlueprintDescriptor) (Design, error) {
	a, ok := architectures[d.GetName()]
	if !ok {
		return Design{}, notCompilable(d, whyNot(d.GetName()))
	}
	design := Design{Formula: a.formula, Reference: a.reference, Views: make(map[Kind]string)}
	for _, kind := range Kinds() {
		if refusal(d.GetName(), roomy(kind), Midpoints(d)) == "" {
			design.Views[kind] = a.view.describe(kind)
		}
	}
	return design, nil
}

// roomy is a slot that no blueprint finds too small or too large.
func roomy(kind Kind) Slot {
	switch kind {
	case KindSequence:
		return Slot{Sequence: 64, Width: 16}
	case KindImage:
		return Slot{Channels: 16, Height: 12, Width: 12}
	default:
		return Slot{Features: 64}
	}
}

// describe says what a slot looks like in the view.
func (v view) describe(kind Kind) string {
	index := slices.Index(Kinds(), kind)
	return map[view][]string{
		asIs:        {"[F]", "[T,D]", "[C,H,W]"},
		inRows:      {"[F]", "[T,D]", "[H·W,C]"},
		inTokens:    {"[T,F/T]", "[T,D]", "[H·W,C]"},
		inPositions: {"[F,1]", "[T,D]", "[H·W,C]"},
		inChannels:  {"[1,F]", "[D,T]", "[C,H,W]"},
	}[v][index]
}
