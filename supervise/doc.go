// Package supervise keeps the long-running loops of one process alive, and starts and stops them in order.
//
// A loop is a [Worker]: one method, Run. A [Supervisor] runs each worker on its own goroutine, starts it again when it
// fails (how soon is decided by a [Policy], a pure value), shows what it is doing ([Supervisor.Status]), tells every
// change on one event stream ([Config].OnEvent, [Supervisor.Subscribe]) and stops it within a bound. [Boot] runs the
// ordered steps that bring a process up, and takes them down again in reverse, after a failure as after a stop.
//
// A stop has two phases, because a loop that takes work and the work it has taken need different treatment:
//
//  1. The context given to Run ends: take no new work, finish what is in hand, return. SoftStop bounds this.
//  2. The context returned by [Work] ends: give up what is in hand, return. HardStop bounds this.
//
// A worker that has not returned by then is abandoned and named in the error; Go cannot kill a goroutine. Everything
// else about a worker's life is decided by one goroutine that owns it, so no state of a worker is shared but a small
// status record.
//
// The package uses the standard library only. All its time is package time's, so that tests can run a day of restarts
// in a moment with testing/synctest; its randomness is injected.
package supervise
