package tolaria

import (
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/kernel/adam"
)

// Size is what a host must fit. All three are at least 1.
type Size struct {
	Inputs   int // features of an example
	Features int // values of one at the slot: the width of every seed
	Classes  int // labels
}

// Model is a network that seeds can grow in. It has two parts, between which lies the slot.
// On the bus they are the layers "hidden" and "head".
type Model interface {
	// Hidden computes the output of the front, shape [N, Features], of examples of the shape
	// [N, Inputs]. The weights of a part that rests are constants of the tape.
	Hidden(t *kernel.Tape, inputs kernel.Value, rests bool) (kernel.Value, error)
	// Logits computes the class scores, shape [N, Classes], of what comes from the slot.
	Logits(t *kernel.Tape, features kernel.Value, rests bool) (kernel.Value, error)
	// Front and Behind are the weights of the two parts, the same and in the same order each time.
	Front() []*kernel.Parameter
	Behind() []*kernel.Parameter
}

// Optimizer moves weights along their gradients. Its state of a weight is written into
// checkpoints, and taken back when a seed is. It is used by one goroutine.
type Optimizer interface {
	// Step moves the parameters that have a gradient, and clears that.
	Step(rate float64, parameters []*kernel.Parameter)
	// Get copies the states of parameters; nil stands for one that has none.
	Get(parameters []*kernel.Parameter) []*adam.Moments
	// Put sets them, and refuses those that are not of the parameter.
	Put(parameters []*kernel.Parameter, moments []*adam.Moments) error
	// Forget drops the states of parameters that are gone.
	Forget(parameters []*kernel.Parameter)
}
