// Package tolaria is the reference trainer: a small, real client of the Esper
// foundation. It trains a network on real handwritten digits, reports each epoch
// on the bus, and lets seeds grow behind its hidden layer, through a
// [graft.Graft] and no other way. Config takes a [Model], [Data] and an [Optimizer] of one's own.
//
// Real trainers are PyTorch programs on the same bus; this one serves the demo,
// the tests and the benchmarks, and shows what a trainer has to do.
//
// # What trains when
//
// While no seed blends, the host trains by its own loss, with the kept seeds
// that were tuned: nothing of it is detached any more. A seed in TRAINING learns
// beside it on the detached output of the hidden layer, and does not show in the
// output. From the first step of a blend to its end the layer in front of the
// seeds rests, and the layer behind them rests too unless Config.TrainBehind is
// set; the seed learns in the mixture that the model really sees. In SHADOWING
// and PROBATIONARY nothing moves, so that the evidence of one report is that of
// the next.
//
// A seed holds its host up for as long as somebody decides on it. While it is paused
// the host trains on; and when it has rested for twenty epochs without an order,
// those of a ramp not counted, it trains on without the seeds on trial, which stay in the output as they are.
package tolaria
