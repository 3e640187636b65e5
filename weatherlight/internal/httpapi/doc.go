// Package httpapi is what Weatherlight serves to trainers, and to those who look after
// them, by HTTP: the kernels of the library, by checksum, what is known of runs, and the
// guard that keeps others out where the listener can be reached from other machines.
// How long a request may take to come is the listener's to bound.
package httpapi
