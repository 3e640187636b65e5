// Package kasmina grows seeds: small kernels that are germinated beside a host
// layer, trained on its detached output, blended in, and kept when they have
// earned their place.
//
// It has two halves. The Manager owns the registry, the lifecycle, the gates,
// the signed commands and the kernel prefetch; one goroutine, Manager.Run, owns
// all of its state. The Graft sits beside the host layer where the model is and
// does the blending. They meet in two small interfaces: the Manager drives a
// Host, the Graft reports to an Observer.
package kasmina
