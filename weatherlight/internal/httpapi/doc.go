// Package httpapi is what Weatherlight serves to trainers by HTTP: the kernels of the
// library, by checksum, and the guard that keeps others out where the listener can be
// reached from other machines. Timeouts are the listener's.
package httpapi
