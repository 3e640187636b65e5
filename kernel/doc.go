// Package kernel is what a Weatherlight kernel is: a small neural network kept
// as data, and the engine that runs it forwards and backwards.
//
// Three things live here.
//
//   - Tensor, Parameter, Tape and Value: reverse-mode differentiation of
//     float32 tensors over BLAS. A Value made by Constant or Detach has no place
//     to keep a gradient, so none can leak through it. A tape keeps its buffers
//     across Reset; a training step that repeats allocates almost nothing.
//   - Builder: writes a kernel as an ONNX file with deterministic bytes, or a
//     whole network of which kernels are parts (NewNetworkBuilder, Inline).
//   - Load: reads an ONNX file strictly, in the closed profile below, into an
//     immutable Kernel; Instantiate gives each seed its own parameters, which
//     Instance.Bytes writes back as a file.
//
// # The profile
//
// A kernel is one ONNX file (IR version 8, default operator set 17) of at most
// 16 MiB with one float32 input "host" and one float32 output "seed" of two to
// four dimensions ([N, F] features, [N, T, D] sequences, [N, C, H, W] maps), the
// first of which is the batch and free. Initialisers are finite float32, or
// int64 and bool where an operator wants them, and only as raw bytes. The list
// of operators and of their attributes is closed. There is no external data, no
// sub-graph, no function, no custom domain: a loop is unrolled when the file is
// built (Builder.Loop). Memory and multiply-adds are bounded before anything is
// allocated. Every float initialiser is trainable unless the metadata entry
// "frozen" names it (a comma-separated list) or an operator needs it constant
// (batch statistics, clip bounds, a dropout ratio, a padding value).
//
// The operators:
//
//   - element by element: Abs, Add, Clip, Cos, Div, Dropout, Erf, Exp, Identity,
//     Max and Min (of two), Mul, Neg, Pow, Relu, Sigmoid, Sin, Sqrt, Sub, Tanh
//   - choosing: And, Equal, Greater, Less, Not, Or, Where
//   - products: Conv (one or two dimensions of space, groups, dilations, pads,
//     strides), Gemm, MatMul
//   - normalising: BatchNormalization, LayerNormalization, Softmax
//   - reducing: AveragePool, GlobalAveragePool, MaxPool (both without dilations
//     and ceil_mode), ReduceMax, ReduceMean, ReduceSum
//   - moving: Concat, Expand, Flatten, Gather, Pad (with a constant), Reshape,
//     Slice (in steps of 1), Split, Squeeze, Transpose, Unsqueeze
//
// Shapes, axes, sizes, pads and indices are constants. What the operator set
// lacks is composed: Builder.Silu, Builder.Gelu.
//
// # Training
//
// A tape is in inference mode until Train gives it a source of randomness. In
// training mode Dropout makes noise, and BatchNormalization uses the statistics
// of the batch and moves the running ones (Instance.Statistics), each instance
// its own; they are no parameters, so no gradient and no optimiser sees them.
//
// A refused file gives an error that is ErrProfile and carries a *ProfileError
// with the reason.
//
// # Results
//
// The same inputs give the same bits on one machine: every sum has a fixed
// order, matrix products split their work by output element only, and
// convolutions split a batch into a fixed number of parts.
// Values are float32; long sums (norms, means, losses) are kept in float64.
// A product skips zero entries of its first operand, so a zero there hides an
// infinity or a NaN that it meets in the second.
package kernel
