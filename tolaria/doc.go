// Package tolaria is the reference trainer: a small, real client of the Esper
// foundation. It trains a network on real handwritten digits, reports each
// epoch on the bus, and lets seeds grow beside one of its layers.
//
// Real trainers are PyTorch programs on the same bus; this one serves the demo,
// the tests and the benchmarks, and shows what a trainer has to do.
package tolaria
