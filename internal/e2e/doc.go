// Package e2e holds the tests of the built commands as their users meet them.
//
// The tests build the real binaries, run them as child processes against real
// redis-server processes, and judge them by what can be seen from outside: exit
// codes, HTTP, Redis streams and files. What they send and read is made by hand
// (RESP, protobuf bytes, HMAC), so that a mistake in our own encoders cannot
// hide itself.
package e2e
