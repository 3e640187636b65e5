// Package oracle compares our kernels with ONNX Runtime, the official runtime
// of the format they are kept in: every operator of the profile with its
// attributes; every blueprint that compiles, in every form of slot; what a
// checkpoint has of them when they have trained; and whole networks that trained
// and grew. Of the latter two it is the seeds and networks themselves whose
// outputs are compared, so that a file which says something else is found.
//
// It is machinery of tests only, and opt-in: `make oracle` installs
// onnxruntime-node, runs the tests with the build tag "oracle", and writes
// docs/oracle.md; .ci/run does the same without writing (`make oracle-check`).
// run.js is the part that runs in Node.
package oracle
