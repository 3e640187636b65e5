// Package interop holds the contract to another language: its tests let a
// Python process, with nothing of ours but leyline.proto, publish and consume
// every message type against package oona, and sign every command alike. Another
// one, with nothing of ours at all, reads kernels and computes what ours compute.
package interop
