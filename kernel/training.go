package kernel

import "math/rand/v2"

// Train puts the tape in training mode from the next operation on: dropout
// draws its noise from rng, and batch normalisation uses the statistics of the
// batch and moves the running ones. A nil rng leaves training mode. Reset keeps
// the mode.
func (t *Tape) Train(rng *rand.Rand) { t.rng = rng }

// Training reports whether the tape is in training mode.
func (t *Tape) Training() bool { return t.rng != nil }
