package kernel_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

type (
	value  = kernel.Value
	values = []kernel.Value
	tape   = kernel.Tape
)

// operation is one case: what to run on operands of the given shapes, and the
// same in float64.
type operation struct {
	name     string
	shapes   [][]int
	positive bool // operands from 0.5 to 2.5, where the operation is smooth
	run      func(t *tape, in values) (value, error)
	ref      func(in []array) array
}

func of1(f func(*tape, value) (value, error)) func(*tape, values) (value, error) {
	return func(t *tape, in values) (value, error) { return f(t, in[0]) }
}

func of2(f func(t *tape, a, b value) (value, error)) func(*tape, values) (value, error) {
	return func(t *tape, in values) (value, error) { return f(t, in[0], in[1]) }
}

func gemm(alpha, beta float32, ta, tb bool) func(*tape, values) (value, error) {
	return func(t *tape, in values) (value, error) {
		c := value{}
		if len(in) > 2 {
			c = in[2]
		}
		return t.Gemm(in[0], in[1], c, alpha, beta, ta, tb)
	}
}

func operations() []operation {
	return slices.Concat(denseOperations(), windowOperations(), selectOperations())
}

func denseOperations() []operation {
	s := func(shapes ...[]int) [][]int { return shapes }
	d := func(dims ...int) []int { return dims }
	add := refBinary(func(a, b float64) float64 { return a + b })
	mul := refBinary(func(a, b float64) float64 { return a * b })
	div := refBinary(func(a, b float64) float64 { return a / b })
	same := refUnary(func(x float64) float64 { return x })
	return []operation{
		{"add", s(d(3, 4), d(3, 4)), false, of2((*tape).Add), add},
		{"add row", s(d(3, 4), d(4)), false, of2((*tape).Add), add},
		{"add scalar", s(d(), d(3, 4)), false, of2((*tape).Add), add},
		{"add column", s(d(3, 1), d(3, 4)), false, of2((*tape).Add), add},
		{"add both ways", s(d(3, 1, 2), d(4, 1)), false, of2((*tape).Add), add},
		{"add single row", s(d(1, 4), d(3, 4)), false, of2((*tape).Add), add},
		{"sub both ways", s(d(2, 1, 3), d(5, 1)), false, of2((*tape).Sub),
			refBinary(func(a, b float64) float64 { return a - b })},
		{"mul", s(d(3, 4), d(3, 4)), false, of2((*tape).Mul), mul},
		{"mul channel", s(d(2, 3, 4), d(3, 1)), false, of2((*tape).Mul), mul},
		{"mul scalar", s(d(2, 3), d()), false, of2((*tape).Mul), mul},
		{"mul both ways", s(d(2, 1, 3), d(5, 1)), false, of2((*tape).Mul), mul},
		{"div", s(d(3, 4), d(3, 4)), true, of2((*tape).Div), div},
		{"div both ways", s(d(2, 1, 3), d(5, 1)), true, of2((*tape).Div), div},
		{"pow", s(d(3, 4), d(3, 4)), true, of2((*tape).Pow), refBinary(math.Pow)},
		{"pow row", s(d(3, 4), d(4)), true, of2((*tape).Pow), refBinary(math.Pow)},

		{"neg", s(d(3, 4)), false, of1((*tape).Neg), refUnary(func(x float64) float64 { return -x })},
		{"sqrt", s(d(3, 4)), true, of1((*tape).Sqrt), refUnary(math.Sqrt)},
		{"exp", s(d(3, 4)), false, of1((*tape).Exp), refUnary(math.Exp)},
		{"abs", s(d(3, 4)), false, of1((*tape).Abs), refUnary(math.Abs)},
		{"relu", s(d(3, 4)), false, of1((*tape).Relu), refUnary(func(x float64) float64 { return max(x, 0) })},
		{"sigmoid", s(d(3, 4)), false, of1((*tape).Sigmoid),
			refUnary(func(x float64) float64 { return 1 / (1 + math.Exp(-x)) })},
		{"tanh", s(d(3, 4)), false, of1((*tape).Tanh), refUnary(math.Tanh)},
		{"erf", s(d(3, 4)), false, of1((*tape).Erf), refUnary(math.Erf)},
		{"gelu", s(d(3, 4)), false, of1((*tape).Gelu), refUnary(func(x float64) float64 { return x * normalCDF(x) })},
		{"sin", s(d(3, 4)), false, of1((*tape).Sin), refUnary(math.Sin)},
		{"cos", s(d(3, 4)), false, of1((*tape).Cos), refUnary(math.Cos)},
		{"scale", s(d(3, 4)), false, func(t *tape, in values) (value, error) { return t.Scale(in[0], 2.5) },
			refUnary(func(x float64) float64 { return 2.5 * x })},
		{"clip", s(d(3, 4)), false, func(t *tape, in values) (value, error) { return t.Clip(in[0], -0.5, 0.75) },
			refUnary(func(x float64) float64 { return min(max(x, -0.5), 0.75) })},
		{"identity", s(d(3, 4)), false, of1((*tape).Identity), same},
		{"dropout", s(d(3, 4)), false, of1((*tape).Dropout), same},

		{"matmul", s(d(3, 4), d(4, 5)), false, of2((*tape).MatMul), refMatMul},
		{"matmul shared", s(d(2, 3, 4), d(4, 5)), false, of2((*tape).MatMul), refMatMul},
		{"matmul batched", s(d(2, 3, 4), d(2, 4, 5)), false, of2((*tape).MatMul), refMatMul},
		{"matmul left shared", s(d(3, 4), d(2, 4, 5)), false, of2((*tape).MatMul), refMatMul},
		{"matmul broadcast", s(d(2, 1, 3, 4), d(3, 4, 2)), false, of2((*tape).MatMul), refMatMul},
		{"gemm", s(d(3, 4), d(4, 5), d(5)), false, gemm(1, 1, false, false), refGemm(1, 1, false, false)},
		{"gemm without c", s(d(3, 4), d(4, 5)), false, gemm(2, 1, false, false), refGemm(2, 1, false, false)},
		{"gemm column", s(d(3, 4), d(4, 5), d(3, 1)), false, gemm(0.5, 2, false, false), refGemm(0.5, 2, false, false)},
		{"gemm ta", s(d(4, 3), d(4, 5), d(3, 5)), false, gemm(0.5, 2, true, false), refGemm(0.5, 2, true, false)},
		{"gemm tb", s(d(3, 4), d(5, 4), d()), false, gemm(0.5, 2, false, true), refGemm(0.5, 2, false, true)},
		{"gemm ta tb", s(d(4, 3), d(5, 4), d(5)), false, gemm(0.5, 2, true, true), refGemm(0.5, 2, true, true)},

		{"softmax last", s(d(3, 4)), false, func(t *tape, in values) (value, error) { return t.Softmax(in[0], -1) },
			refSoftmax(1)},
		{"softmax middle", s(d(2, 3, 4)), false, func(t *tape, in values) (value, error) { return t.Softmax(in[0], 1) },
			refSoftmax(1)},
		{"layernorm", s(d(2, 3, 4), d(4), d(4)), false, func(t *tape, in values) (value, error) {
			return t.LayerNorm(in[0], in[1], in[2], 1e-3)
		}, refLayerNorm(1e-3)},
		{"layernorm without bias", s(d(3, 4), d(4)), false, func(t *tape, in values) (value, error) {
			return t.LayerNorm(in[0], in[1], value{}, 1e-3)
		}, refLayerNorm(1e-3)},
		{"batchnorm", s(d(3, 4), d(4), d(4), d(4), d(4)), true, batchNorm, refBatchNorm(1e-3)},
		{"batchnorm space", s(d(2, 3, 4, 2), d(3), d(3), d(3), d(3)), true, batchNorm, refBatchNorm(1e-3)},

		{"mean all", s(d(3, 4)), false, func(t *tape, in values) (value, error) { return t.ReduceMean(in[0], true) },
			refMean(0, 1)},
		{"mean rows", s(d(3, 4)), false, func(t *tape, in values) (value, error) { return t.ReduceMean(in[0], true, -1) },
			refMean(1)},
		{"mean outer", s(d(3, 4, 2)), false, func(t *tape, in values) (value, error) {
			return t.ReduceMean(in[0], true, 0, 2)
		}, refMean(0, 2)},
		{"pool", s(d(2, 3, 4, 2)), false, of1((*tape).GlobalAveragePool), refMean(2, 3)},

		{"reshape", s(d(3, 4)), false, func(t *tape, in values) (value, error) { return t.Reshape(in[0], 2, -1) },
			refReshape(2, 6)},
		{"transpose", s(d(3, 4)), false, func(t *tape, in values) (value, error) { return t.Transpose(in[0]) },
			refTranspose(1, 0)},
		{"transpose 4", s(d(2, 3, 4, 5)), false, func(t *tape, in values) (value, error) {
			return t.Transpose(in[0], 0, 2, 1, 3)
		}, refTranspose(0, 2, 1, 3)},
		{"transpose cycle", s(d(2, 3, 4)), false, func(t *tape, in values) (value, error) {
			return t.Transpose(in[0], 2, 0, 1)
		}, refTranspose(2, 0, 1)},
		{"concat", s(d(2, 3), d(2, 1), d(2, 4)), false, func(t *tape, in values) (value, error) {
			return t.Concat(1, in...)
		}, refConcat(1)},
		{"concat first", s(d(2, 3), d(1, 3)), false, func(t *tape, in values) (value, error) {
			return t.Concat(-2, in...)
		}, refConcat(0)},
		{"slice", s(d(2, 5, 3)), false, func(t *tape, in values) (value, error) { return t.Slice(in[0], 1, 1, 4) },
			refSlice(1, 1, 4)},
		{"split", s(d(2, 5)), false, func(t *tape, in values) (value, error) {
			parts, err := t.Split(in[0], -1, 2, 3)
			if err != nil {
				return value{}, err
			}
			return parts[1], nil
		}, refSlice(1, 2, 5)},
		{"cross entropy", s(d(3, 4)), false, func(t *tape, in values) (value, error) {
			return t.SoftmaxCrossEntropy(in[0], []int{2, 0, 3})
		}, refCrossEntropy(2, 0, 3)},
	}
}

func batchNorm(t *tape, in values) (value, error) {
	return t.BatchNorm(in[0], in[1], in[2], in[3], in[4], 1e-3)
}

// operands are random arrays and the same as float32 tensors. They stay away
// from 0, from the clip bounds and from each other, where a difference quotient
// means nothing.
func operands(op operation, rng *rand.Rand) ([]array, []*kernel.Tensor) {
	var arrays []array
	var tensors []*kernel.Tensor
	for k, shape := range op.shapes {
		a, x := newArray(shape...), kernel.NewTensor(shape...)
		for i := range a.data {
			v := 0.5 + 2*rng.Float64()
			if !op.positive {
				v = float64(rng.IntN(41)-20)/10 + 0.03
			}
			v += 0.0007*float64(i) + 0.00035*float64(k)
			x.Data[i] = float32(v)
			a.data[i] = float64(x.Data[i])
		}
		arrays, tensors = append(arrays, a), append(tensors, x)
	}
	return arrays, tensors
}

func TestEveryOperationMatchesAHandWrittenReference(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			arrays, tensors := operands(op, rand.New(rand.NewPCG(1, 1)))
			tp := kernel.NewTape()
			var in values
			for _, x := range tensors {
				in = append(in, tp.Constant(x))
			}
			y := must(t)(op.run(tp, in))
			want := op.ref(arrays)
			if !slices.Equal(y.Shape(), want.shape) {
				t.Fatalf("shape %v, want %v", y.Shape(), want.shape)
			}
			for i, got := range y.Tensor().Data {
				if !near(float64(got), want.data[i], 4e-6) {
					t.Errorf("element %d: %v, want %v", i, got, want.data[i])
				}
			}
			if y.Grad() != nil {
				t.Error("a result of constants has storage for a gradient")
			}
		})
	}
}

func TestEveryGradientMatchesFiniteDifferences(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(2, 2))
			arrays, tensors := operands(op, rng)
			weights := op.ref(arrays)
			for i := range weights.data {
				weights.data[i] = float64(float32(rng.NormFloat64()))
			}
			got := gradients(t, op, tensors, weights)
			for k := range arrays {
				for i := range arrays[k].data {
					want := slope(op, arrays, weights, k, i)
					if !near(float64(got[k].Data[i]), want, 2e-5) {
						t.Errorf("operand %d element %d: %v, want %v", k, i, got[k].Data[i], want)
					}
				}
			}
		})
	}
}

// gradients are those of the weighted sum of the result by every operand.
func gradients(t *testing.T, op operation, tensors []*kernel.Tensor, weights array) []*kernel.Tensor {
	t.Helper()
	ok, tp := must(t), kernel.NewTape()
	var in values
	for _, x := range tensors {
		in = append(in, tp.Input(x))
	}
	w := kernel.NewTensor(weights.shape...)
	for i, v := range weights.data {
		w.Data[i] = float32(v)
	}
	weighted := ok(tp.Mul(ok(op.run(tp, in)), tp.Constant(w)))
	loss := ok(tp.Scale(ok(tp.ReduceMean(weighted, false)), float32(len(w.Data))))
	if err := tp.Backward(loss); err != nil {
		t.Fatal(err)
	}
	var grads []*kernel.Tensor
	for _, v := range in {
		grads = append(grads, v.Grad())
	}
	return grads
}

// slope is the central difference of the reference's weighted sum.
func slope(op operation, arrays []array, weights array, k, i int) float64 {
	const step = 1e-5
	sum := func(delta float64) float64 {
		moved := slices.Clone(arrays)
		moved[k] = array{arrays[k].shape, slices.Clone(arrays[k].data)}
		moved[k].data[i] += delta
		total := 0.0
		for j, v := range op.ref(moved).data {
			total += v * weights.data[j]
		}
		return total
	}
	return (sum(step) - sum(-step)) / (2 * step)
}

func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*max(1, math.Abs(want))
}
