// Package transcript writes decisions of the controller down and makes them again. A
// [Transcript] holds all that one was handed, so that the pure controller gives it again
// anywhere, and what came of it, byte by byte. [ReadRuns] finds them in what Nissa exports.
package transcript
