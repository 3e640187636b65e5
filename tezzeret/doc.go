// Package tezzeret turns blueprints into kernels.
//
// A [Compiler] builds the network that a blueprint's name promises, honours each
// declared parameter, writes it as an ONNX kernel, and proves the bytes by loading and
// running them; a [Compiled] is what comes of it. Weights come from a generator that is
// seeded by the blueprint's id, its parameters and the slot, so equal requests give
// equal checksums. What cannot be built is refused by name; it is never replaced by
// something else.
//
// A [Slot] is a feature vector, a sequence or an image; each architecture looks at it
// through a fixed view and gives back the same shape. docs/blueprints.md lists them all.
//
// The room forge drives a compiler through a whole catalogue; Urza's prefetcher asks it
// for single variants.
package tezzeret
