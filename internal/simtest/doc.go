// Package simtest simulates days of the foundation service in moments, and audits what happened.
//
// A [Scenario] runs in a testing/synctest bubble, where time passes only when nobody has anything to do. In it the
// supervision engine itself runs the service's boot steps and workers, in the order of the service's own outline
// ([weatherlight.Outline]). What the workers do is made up: they take messages from a bus in memory, and fail, panic,
// hang, ignore their contexts and leak as a seed tells them to. The bus goes down, loses replies and has its clock
// moved; the process is stopped, interrupted and killed, at boot as well as later, and started again.
//
// The auditor believes nobody. It has a model of the restart policy of its own, written from the policy's promise, a
// state table of its own, and reads the streams to see what took effect. What it holds the service to:
//
//   - steps and workers start in one order, and stop in exactly the reverse; a failed boot is rolled back
//   - each delay is within the policy, each start comes when its delay is over, and never six starts in 10 s
//   - a circuit opens when the budget is spent, and not before; a recovery is told after 60 s of health
//   - a worker is started again for its own failures only
//   - no event is lost, no move is illegal, and the status table says what the events say
//   - a stop is bounded, gives the work in hand its time, and names exactly the workers that it had to abandon; a boot
//     step whose teardown outlasts its own bound is named too, and only behind such a step may the order be lost
//   - what the bus acknowledged is there, takes effect once, and is settled in the end
//
// # The bus, and how far it can be trusted
//
// The bus is the embedded broker, called without its socket, which would stop a bubble's clock; it commits by package
// oona's own script. It passes the suite of package oonatest, driven by package oona's client. A second test gives
// thousands of random commands to this bus and to a Redis, and compares every answer, the pending lists with owners and
// delivery counts, and what was stored.
//
// The consumer is not package oona's client, whose sockets a bubble does not bear and whose polls would make a day take
// minutes. It keeps the client's rules, and a third test holds it to those rows of the suite that are about groups,
// retries, claims, replays, crashes and stops, under the names of the suite. The rows about wire, trust, pressure, order
// by key, leases, housekeeping and dead-letter replay are the client's alone.
//
// What is not simulated: the parts' own logic, freshness (replay marks do not expire here), trimming, several instances
// at once, and jumps of the process's own wall clock, which a bubble does not have; the clock that jumps is the bus's.
// Two goroutines that wake in the same nanosecond run in either order. Every waiting time is drawn with nanoseconds to
// make that rare, and a test compares repeated runs, so a seed repeats its run in all but very few cases.
package simtest
