// Package oracle compares our kernels with ONNX Runtime, the official runtime
// of the format they are kept in: every operator of the profile with its
// attributes, and every blueprint that compiles, in every form of slot.
//
// It is machinery of tests only, and opt-in: `make oracle` installs
// onnxruntime-node, runs the tests with the build tag "oracle", and writes
// docs/oracle.md. run.js is the part that runs in Node.
package oracle
