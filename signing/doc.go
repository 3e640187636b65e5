// Package signing makes and checks the two signatures of the Esper bus: the
// HMAC of a serialised BusEnvelope and the HMAC of an AdaptationCommand.
//
// Both are HMAC-SHA256 in padded standard base64, byte-exact with the Python
// processes on the bus. The key is the UTF-8 text of the shared secret, used
// raw: neither decoded nor trimmed.
package signing
