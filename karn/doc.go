// Package karn is the blueprint catalogue: the 50 descriptors that a seed can
// be grown from, their parameter bounds, and the deterministic choice of one.
//
// The catalogue never changes after it was made, and hands out copies only; With
// makes one that holds more.
// Get, List, Validate and Authorize are pure look-ups. Choose and Select hand out
// a blueprint to act on, and only a permitted one: approval and quarantine are
// enforced, by the grant of the caller and that of the deployment. Select
// validates parameters, counts, and leaves events behind besides.
package karn
