// Package outbox keeps messages that must not be lost in a local SQLite file
// until the bus has stored them: field reports, emergency signals, policy
// acknowledgements.
//
// Put returns when the message is on disk. Run publishes what is there, in the
// order it was put for each stream, and goes on after an outage or a kill. A
// message may be published twice then; it keeps its name, by which consumers of
// package oona drop the second one.
package outbox
