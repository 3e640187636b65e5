// Package policy keeps the policies that are meant for the controller: which one was
// issued last, and the payloads by their digests. Nothing evaluates a payload.
//
// A [Store] checks each update that the bus brings against what it accepted before
// and makes it durable; an [Update] is one that it accepted, and what another
// instance is told of it. A refusal is a [RejectedError]. A payload that is too large
// for the bus is referred to by the attributes of [ReferTo]. Weatherlight's leader takes
// updates in, all its instances learn of them.
package policy
