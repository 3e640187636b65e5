// Package runsimtest simulates growth: instances of the service that decide on
// training runs, and the trainers of those runs, in a world in which messages are
// lost, doubled, late and out of order, processes die between any two steps, and
// Redis forgets.
//
// A [Scenario] is run by [Simulate]. What is simulated is simulated in one
// goroutine, by a list of events in virtual time, and a seed decides everything:
// the same seed repeats the same simulation. The control engine that runs in it
// is the service's own ([control.Room], with Kasmina's core and Tamiyo's
// controller). Each message that it handles is a coroutine, which stands still
// before every call to the store and to the bus; what happens meanwhile, in this
// instance or in another, is drawn. A process may die before or after each of
// these calls.
//
// The store has the semantics of oona.Records, and is compared with it, call by
// call. The trainers are a model made from docs/trainers.md, not from package
// graft. They verify and obey orders, report, crash, go on from checkpoints, fall
// silent, and meet second processes of their own run.
//
// The auditor sees what is written, published and obeyed, and has a table of
// stages of its own. It holds the service to this:
//
//   - seeds move along the contract's table only, each move is told of, and each
//     end says why
//   - numbers of orders only grow, and one number is one order
//   - no order has two effects, and a command that is no state has one effect
//   - what is attached was announced by the library, and the trainer has verified it
//   - a seed whose gradients reached the host is never kept
//   - what was decided is published, whoever died; nothing is written over what is not
//   - a field report is one report, however often it is made
//   - a blueprint is written off for what it did, never because a kernel did not come
//   - a CULL holds that overtakes its GERMINATE
//   - no order is given up, and no command of Tamiyo's too old, before a report of the run can
//     tell what became of it: some runs are reported each second, some every ten minutes
//   - trainers that only report are never commanded
//   - nothing of the trainers', of the library's or of our own becomes a dead letter
//   - when it has been quiet for a while, every seed has come to an end, and record
//     and trainer agree
package runsimtest
