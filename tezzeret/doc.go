// Package tezzeret is the forge: it turns blueprints into kernels.
//
// A Compiler builds the network that a blueprint's name promises, honours each
// declared parameter, writes it as an ONNX kernel, and proves the bytes by
// loading and running them. Weights come from a generator that is seeded by the
// blueprint's id, its parameters and the slot, so equal requests give equal
// checksums. What cannot be built is refused by name; it is never replaced by
// something else.
//
// A slot is a feature vector, a sequence or an image; each architecture looks at
// it through a fixed view and gives back the same shape. docs/blueprints.md
// lists them all.
//
// A Forge goes through a catalogue once and compiles what a library lacks or
// has out of date. A blueprint that fails is parked, and the next one has its
// turn. A journal file keeps failures and announcements across processes, also
// when one is killed.
package tezzeret
