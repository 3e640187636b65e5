// Package oona is the client of Oona, the message bus: Redis Streams that
// carry signed Leyline envelopes, with consumer groups and dead letters.
//
// The promise is at-least-once for each group, and once for what a handler
// publishes: its answers, the mark against replays and the acknowledgement are
// one atomic commit on the server. A message that cannot be trusted or read is
// counted by reason and kept on the dead-letter stream, and never holds up the
// message behind it.
//
// A Client publishes Messages, consumes Subscriptions, whose handlers get
// Deliveries, and keeps Records of training runs. Every process of Esper has one;
// leases, dead letters and the care of a bus are packages beside it.
//
// Every form on the wire (stream names, entry fields, envelope, signature) is
// that of the Python prototype; extra facts travel as signed attributes that
// older peers ignore.
package oona
