// Package kasmina grows seeds: small kernels that are germinated beside a host
// layer, trained on its detached output, blended in, and kept when they have
// earned their place.
//
// It has two halves. The Manager owns the registry, the lifecycle, the gates,
// the signed commands and the kernel prefetch; one goroutine, Manager.Run, owns
// all of its state. The Graft sits beside the host layer where the model is and
// does the blending. They meet in two small interfaces: the Manager drives a
// Host, the Graft reports to an Observer.
//
// # The way of a seed
//
// A signed GERMINATE passes gate G0 and asks the kernel library for a kernel
// (GERMINATED). The announced artifact is read, its checksum compared, loaded
// under the kernel profile and attached to the host (G3, G1). In TRAINING the
// seed rests at least Promotion.MinTraining epochs; it goes on once its loss
// has levelled out below the host's, and is decided on after TrainEpochs (G1,
// G2). In BLENDING its share ramps with every batch until the ramp ends (G3).
// In SHADOWING and PROBATIONARY its share is 1 and its parameters are frozen;
// it moves on when its evidence shows a gain (G4), and is FOSSILIZED by a
// command that finds the gain still holding.
//
// A seed that fails a gate, regresses, leaks a gradient into the host or rests
// too long without earning is CULLED: detached at once, EMBARGOED for a time,
// then reset (G5) to DORMANT, where it leaves the registry and may germinate
// anew. CULL does the same on command and ends a fossilised seed in TERMINATED;
// CANCEL skips the embargo.
package kasmina
