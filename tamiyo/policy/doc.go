// Package policy keeps the policies that the controller decides under: which one is
// in force, and the payloads by their digests.
//
// A [Store] checks each update that the bus brings against what it accepted before
// and makes it durable; an [Update] is one that it accepted, and what another
// instance is told of it. A refusal is a [RejectedError]. Weatherlight's leader takes
// updates in, all its instances learn of them.
package policy
