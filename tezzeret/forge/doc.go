// Package forge compiles what a kernel library lacks or has out of date.
//
// A [Forge] goes through a catalogue once: it drives a [Compiler], stores what that
// builds in a [Library] and announces it. A blueprint that fails is parked and the next
// one has its turn; a circuit stops a compiler that fails at everything. A journal file
// keeps failures and announcements across processes, also when one is killed.
// [Config] has the parts, [Result] what became of each blueprint. Weatherlight and
// esperctl run it.
package forge
