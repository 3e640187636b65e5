// Package httpapi is what Weatherlight serves by HTTP.
//
// [Handler] serves all of it, from a [Config] of functions: health, readiness, status and
// metrics to operators, [Runs] and [Kernels] to trainers and those who look after them, behind a
// [Guard] that keeps others out where the listener can be reached from other machines. The
// service has one on its listener, which bounds how long a request may take to come.
package httpapi
