// Package interop holds the contracts to another language. Its tests let a
// Python process, with nothing of ours but leyline.proto, publish and consume
// every message type against package oona, and sign every command alike. Another
// one, with nothing but docs/trainers.md, reads every kernel that the forge makes,
// and computes what ours compute.
package interop
