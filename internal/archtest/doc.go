// Package archtest holds the rules of the house as tests: who imports whom,
// who may touch the process (environment, arguments, signals, exit), how big
// files and functions get, and which words need a reason beside them. It reads
// the sources of the whole module and has no code of its own.
//
// An exception goes into the list beside its rule, with its reason. An
// exception that nothing needs any more fails too, so the lists stay short.
package archtest
