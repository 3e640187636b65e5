// Package chaos holds the bus to its promise from outside: what was acknowledged
// is not lost and takes effect once, whatever is killed, cut or forged.
//
// Its tests run processes that are killed, a Redis that is restarted, hostile
// entries among good ones, one fault after another, and every fault under every
// kind of message around the built commands, and a History that reads
// what was acknowledged and what took effect. go test runs a short version; the
// full one is make chaos, which also measures the table of docs/delivery.md.
package chaos
