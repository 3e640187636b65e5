// Package karn is the blueprint catalogue: the 50 descriptors that a seed can
// be grown from, their parameter bounds, and the deterministic choice of one.
//
// The catalogue never changes after it was made, and hands out copies only.
// Get, List, Validate, Choose and Authorize are pure look-ups. Select is the
// one entry for callers that act on an answer: it validates, enforces approval
// and quarantine, counts, and leaves events behind.
package karn
