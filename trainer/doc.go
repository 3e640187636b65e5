// Package trainer is the trainer protocol: what a training process and the
// service say to each other beside the fields of Leyline.
//
// Both directions are level-triggered. A trainer's [Report] travels as the
// attributes of a SystemStatePacket and tells the whole of what is grafted. An
// [Order] travels as a signed AdaptationCommand on the stream of its run
// ([Stream]) and tells the whole of what the graft needs. Applying an order
// twice changes nothing, and what was lost shows in the next report.
//
// The package reads and writes these forms and decides nothing. Kasmina's core
// reads reports and writes orders, a graft does the opposite. docs/trainers.md
// is the specification for any language.
package trainer
