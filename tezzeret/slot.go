package tezzeret

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// Slot is the shape of one example at the host layer, in one of three forms:
// {Features}, {Channels, Height, Width} or {Sequence, Width}. A kernel's input
// and output are the slot's shape with the batch before it.
type Slot struct {
	// Features is the width F of a feature vector, [N, F].
	Features int

	// Channels, Height and Width are those of a map, [N, C, H, W].
	Channels, Height, Width int

	// Sequence is the number of steps T of a sequence, each Width wide, [N, T, D].
	Sequence int
}

// NewSlot is the slot of one size (features), two (sequence, width) or three
// (channels, height, width).
func NewSlot(sizes ...int) (Slot, error) {
	var s Slot
	switch len(sizes) {
	case 1:
		s = Slot{Features: sizes[0]}
	case 2:
		s = Slot{Sequence: sizes[0], Width: sizes[1]}
	case 3:
		s = Slot{Channels: sizes[0], Height: sizes[1], Width: sizes[2]}
	}
	if s.Kind() == "" {
		return Slot{}, fmt.Errorf("tezzeret: sizes %v are neither features, nor a sequence, nor an image", sizes)
	}
	return s, nil
}

// Kind is the form of a slot.
type Kind string

// The forms of a slot.
const (
	KindFeatures Kind = "features"
	KindSequence Kind = "sequence"
	KindImage    Kind = "image"
)

// Kinds lists the forms of a slot.
func Kinds() []Kind { return []Kind{KindFeatures, KindSequence, KindImage} }

// Kind returns the slot's form, or "" when its sizes are those of none.
func (s Slot) Kind() Kind {
	switch {
	case s.Features > 0 && s == (Slot{Features: s.Features}):
		return KindFeatures
	case s.Sequence > 0 && s.Width > 0 && s == (Slot{Sequence: s.Sequence, Width: s.Width}):
		return KindSequence
	case s.Channels > 0 && s.Height > 0 && s.Width > 0 && s.Features == 0 && s.Sequence == 0:
		return KindImage
	default:
		return ""
	}
}

// Shape returns the sizes of one example without the batch, nil when the slot
// has no form.
func (s Slot) Shape() []int {
	switch s.Kind() {
	case KindFeatures:
		return []int{s.Features}
	case KindSequence:
		return []int{s.Sequence, s.Width}
	case KindImage:
		return []int{s.Channels, s.Height, s.Width}
	default:
		return nil
	}
}

// maxSlot bounds the values of one example: a kernel's profile has no room for more.
const maxSlot = 1 << 22

// bounded is false for a slot of more values than any kernel takes.
func (s Slot) bounded() bool {
	values := 1
	for _, size := range s.Shape() {
		if size > maxSlot/values {
			return false
		}
		values *= size
	}
	return true
}

// String is the shape with the batch, such as "[N,32]".
func (s Slot) String() string {
	shape := s.Shape()
	if shape == nil {
		return "[N,?]"
	}
	return "[N," + joined(shape, ",") + "]"
}

// batched returns the slot's shape with the given number of examples before it.
func (s Slot) batched(examples int) []int { return slices.Insert(s.Shape(), 0, examples) }

// Misfit says whether a blueprint only makes sense of a slot by taking it for something
// else: features for a sequence, positions or channels that they are not.
func Misfit(d *leyline.BlueprintDescriptor, s Slot) bool {
	view := architectures[d.GetName()].view
	return s.Kind() == KindFeatures && view != asIs && view != inRows
}
