// Package graft is the half of growth that lives where the model is: it holds
// the seeds beside the layers of one network in training, reports what is
// grafted on the bus, and carries out the orders that the service sends back.
// Any Go program can import it.
//
// # Use
//
// A trainer makes one [Graft], declares where seeds may grow ([Graft.Slot]),
// starts [Graft.Run] in a goroutine of its own, and calls three methods from its
// training loop:
//
//	graft.Apply()                   // orders that have arrived take effect
//	... slot.Output(tape, hidden)   // in the forward pass, where the slot is
//	... tape.Backward(loss)
//	graft.Step()                    // gradients are measured, ramps advance
//	optimizer.Step()
//	graft.Report(packet, evidence)  // once an epoch, or each N steps
//
// None of them waits for anything: reports leave and orders arrive in Run. With
// the bus down, training goes on with what is grafted, and the next report after
// the outage tells both sides all they need.
//
// Apply, Step, Report, Seeds and the methods of a Slot belong to the goroutine of
// the training loop. Run, Halted, Flush and Stats may be called from any.
//
// # What a seed does
//
// A seed in TRAINING is not in the output; it learns on the detached output of
// its slot ([Slot.Isolated]). In BLENDING its share in the output grows along the
// ramp of its order, in SHADOWING and PROBATIONARY it is 1 and its weights rest.
// In all these stages the host's side of the blend is detached: no gradient
// reaches a parameter in front of the slot through it, for there is no storage
// for one. In FOSSILIZED the blend is dissolved: the seed is a layer like any
// other, the gradient flows through it, and after an order to tune its
// parameters train along with the host's.
//
// With h the output that reaches the seed, s its own, and a its share, the output
// is a·s + (1-a)·h (CONVEX), h + a·s (RESIDUAL), e·s + (1-e)·h with
// e = clamp01(a·v) for each entry of dimension 1 (CHANNEL), or with
// e = clamp(a·gate(s), low, top) (CONFIDENCE). At a share of 0 it is h itself, bit
// by bit. A seed whose output is not finite, or that fails, is left out of that
// pass and the fault is counted.
//
// # What is measured
//
// Each report tells of every seed the norm of its gradients, the largest gradient
// that came through a blend to the host (0, or something is broken), how many
// parameters it has in common with those of [Slot.Watch], failed forward passes,
// and the time of one. The trainer adds what it alone can measure, on held-out
// examples: [Slot.Without] and [Slot.With] give the two networks, [Compare] the
// difference with its error, and [Slot.Cosine] whether both losses pull the shared
// activations the same way.
//
// # Going back, and keeping what was grown
//
// As a seed begins to blend, [Host.Snapshot] is taken. An order to drop the seed
// removes it and restores what it touched; a rollback restores the whole model
// and removes the seeds that joined it later as well. [Graft.Save] writes the
// seeds with their trained weights beside the trainer's own checkpoint, and the
// snapshots of a host that is a [SnapshotCodec]; [Graft.Load] attaches them in the
// process that resumes it, and [Export] writes host and kept seeds as one ONNX file.
//
// # Trust
//
// An order counts when its command is signed by the keyring, names this run and
// this trainer, has a number above the last one read, and is applied within its
// deadline, measured from its reading by a monotonic clock. A kernel is attached
// when its bytes have the announced SHA-256, carry the signature of a trusted key
// if keys are configured, load as a kernel of the profile, have the shape of the
// slot, and run on two examples. Whatever does not count is dropped, counted in
// [Stats] and logged, and training is not disturbed.
package graft
