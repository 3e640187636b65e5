// Package policy keeps the policies that are meant for the controller: which one was
// issued last, which are in force, and the payloads by their digests.
//
// A [Store] checks each update that the bus brings against what it accepted before
// and makes it durable; an [accepted.Update] is one that it accepted, and what another
// instance is told of it. A refusal is a [RejectedError]. A payload that is too large
// for the bus travels as a [payloads.Reference]. What is in force is set apart, by a
// [journal.Action]: a [network.Network] is asked in the shadow first, and decides when it is
// activated. Weatherlight's leader takes updates in, all its instances learn of them.
package policy
