// Package kernel is what a Weatherlight kernel is: a small neural network kept
// as data, and the engine that runs it forwards and backwards.
//
// Three things live here.
//
//   - Tensor, Parameter, Tape and Value: reverse-mode differentiation of
//     float32 tensors over BLAS. A Value made by Constant or Detach has no place
//     to keep a gradient, so none can leak through it. A tape keeps its buffers
//     across Reset; a training step that repeats allocates almost nothing.
//   - Builder: writes a kernel as an ONNX file with deterministic bytes.
//   - Load: reads an ONNX file strictly, in the closed profile below, into an
//     immutable Kernel; Instantiate gives each seed its own parameters.
//
// # The profile
//
// A kernel is one ONNX file (IR version 8, default operator set 17) of at most
// 16 MiB with one float32 input "host" and one float32 output "seed", whose
// first dimension is the batch and free. Initialisers are finite float32, or
// int64 where an operator wants constant sizes, and only as raw bytes. The list
// of operators and of their attributes is closed. There is no external data, no
// sub-graph, no function, no custom domain. Memory and multiply-adds are
// bounded before anything is allocated. Every float initialiser is trainable
// unless the metadata entry "frozen" names it (a comma-separated list) or an
// operator needs it constant (batch statistics, clip bounds, a dropout ratio).
//
// The operators: Abs, Add, BatchNormalization (inference), Clip, Concat, Cos,
// Div, Dropout (inference), Erf, Exp, Flatten, Gemm, GlobalAveragePool,
// Identity, LayerNormalization, MatMul, Mul, Neg, Pow, ReduceMean, Relu,
// Reshape, Sigmoid, Sin, Slice (in steps of 1), Softmax, Split, Sqrt, Squeeze,
// Sub, Tanh, Transpose, Unsqueeze. Shapes, axes and sizes are constants.
//
// A refused file gives an error that is ErrProfile and carries a *ProfileError
// with the reason.
//
// # Results
//
// The same inputs give the same bits on one machine: every sum has a fixed
// order, and the matrix products split their work by output element only.
// Values are float32; long sums (norms, means, losses) are kept in float64.
// A product skips zero entries of its first operand, so a zero there hides an
// infinity or a NaN that it meets in the second.
package kernel
