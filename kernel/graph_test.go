package kernel_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kernel"
)

func scalar(v float32) *kernel.Tensor { return kernel.FromSlice([]float32{v}) }

func ones(shape ...int) *kernel.Tensor {
	x := kernel.NewTensor(shape...)
	for i := range x.Data {
		x.Data[i] = 1
	}
	return x
}

// everyOperator builds one graph that uses every operator of the profile.
func everyOperator(t testing.TB) *kernel.Builder {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 5))
	b := kernel.NewBuilder("every", 8)
	b.Init("w", random(rng, 8, 8))
	b.Init("bias", random(rng, 8))
	b.Init("scale", ones(8))
	b.Init("shift", kernel.NewTensor(8))
	b.Frozen("mean", kernel.NewTensor(8))
	b.Frozen("variance", ones(8))
	b.Frozen("two", scalar(2))
	b.Frozen("low", scalar(-3))
	b.Frozen("high", scalar(3))
	b.Frozen("ratio", scalar(0.1))
	b.InitInts("halves", 4, 4)
	b.InitInts("heads", 0, 2, -1)
	b.InitInts("rows", -1, 8)
	b.InitInts("first", 0)
	b.InitInts("end", math.MaxInt64)
	b.InitInts("last_axis", -1)

	at := "host"
	next := func(op, output string, rest []string, attrs ...kernel.Attr) {
		b.Node(op, append([]string{at}, rest...), output, attrs...)
		at = output
	}
	next("Gemm", "gemm", []string{"w", "bias"}, kernel.FloatAttr("beta", 0.5), kernel.IntAttr("transB", 1))
	next("MatMul", "matmul", []string{"w"})
	next("LayerNormalization", "ln", []string{"scale", "shift"}, kernel.FloatAttr("epsilon", 1e-4))
	next("BatchNormalization", "bn", []string{"scale", "shift", "mean", "variance"})
	for _, op := range []string{"Tanh", "Sin", "Cos", "Erf", "Neg", "Abs", "Relu", "Exp", "Sqrt", "Sigmoid", "Identity"} {
		next(op, "u_"+op, nil)
	}
	next("Clip", "clip", []string{"low", "high"})
	next("Dropout", "dropout", []string{"ratio"})
	next("Pow", "pow", []string{"two"})
	next("Sub", "sub", []string{"bias"})
	next("Mul", "mul", []string{"scale"})
	next("Div", "div", []string{"two"})
	next("Softmax", "softmax", nil, kernel.IntAttr("axis", 1))
	b.NodeOutputs("Split", []string{at, "halves"}, []string{"left", "right"}, kernel.IntAttr("axis", 1))
	at = "right"
	next("Concat", "swapped", []string{"left"}, kernel.IntAttr("axis", 1))
	next("Slice", "slice", []string{"first", "end", "last_axis"})
	next("Reshape", "tall", []string{"heads"})
	next("Transpose", "turned", nil, kernel.IntsAttr("perm", 0, 2, 1))
	next("GlobalAveragePool", "pooled", nil)
	next("Squeeze", "squeezed", []string{"last_axis"})
	next("Unsqueeze", "unsqueezed", []string{"last_axis"})
	next("Mul", "outer", []string{"turned"})
	next("Flatten", "flat", nil)
	b.Node("ReduceMean", []string{"flat"}, "average", kernel.IntsAttr("axes", 1), kernel.IntAttr("keepdims", 1))
	next("Add", "sum", []string{"average"})
	next("Reshape", "seed", []string{"rows"})
	return b
}

func TestEveryOperatorOfTheProfileLoadsAndRuns(t *testing.T) {
	k := loaded(t, everyOperator(t))
	runOnce(t, k)
	if got, want := k.ParameterCount(), 64+8+8+8; got != want {
		t.Errorf("%d trainable elements, want %d", got, want)
	}
}

func TestFrozenConstantsAreNotTrained(t *testing.T) {
	instance := loaded(t, everyOperator(t)).Instantiate()
	var names []string
	for _, p := range instance.Parameters() {
		names = append(names, p.Name)
	}
	if want := []string{"w", "bias", "scale", "shift"}; !slices.Equal(names, want) {
		t.Errorf("trainable %v, want %v", names, want)
	}
}

func TestStatisticsAndClipBoundsAreNeverTrained(t *testing.T) {
	b := kernel.NewBuilder("norm", 2)
	for _, name := range []string{"scale", "shift", "mean", "variance"} {
		b.Init(name, ones(2))
	}
	b.Init("low", scalar(-1))
	b.Node("BatchNormalization", []string{"host", "scale", "shift", "mean", "variance"}, "n")
	b.Node("Clip", []string{"n", "low"}, "seed")
	if got := loaded(t, b).ParameterCount(); got != 4 {
		t.Errorf("%d trainable elements, want scale and shift alone, 4", got)
	}
}

func TestBuilderMistakesAreReported(t *testing.T) {
	cases := []struct {
		name, reason string
		build        func(b *kernel.Builder)
	}{
		{"no node", "0 nodes", func(*kernel.Builder) {}},
		{"data that does not fill its shape", "does not fill", func(b *kernel.Builder) {
			b.Init("w", kernel.FromSlice([]float32{1}, 2))
		}},
		{"no tensor", "does not fill", func(b *kernel.Builder) { b.Init("w", nil) }},
		{"the builder's own metadata", "written by Frozen", func(b *kernel.Builder) { b.Metadata("frozen", "w") }},
		{"NaN", "not finite", func(b *kernel.Builder) {
			b.Init("w", scalar(float32(math.NaN())))
			b.Node("Add", []string{"host", "w"}, "seed")
		}},
		{"training mode", "training mode", func(b *kernel.Builder) {
			for _, name := range []string{"s", "b", "m", "v"} {
				b.Init(name, ones(4))
			}
			b.Node("BatchNormalization", []string{"host", "s", "b", "m", "v"}, "seed", kernel.IntAttr("training_mode", 1))
		}},
		{"a split that does not add up", "cannot be split", func(b *kernel.Builder) {
			b.InitInts("sizes", 3, 3)
			b.NodeOutputs("Split", []string{"host", "sizes"}, []string{"seed", "rest"}, kernel.IntAttr("axis", 1))
		}},
		{"a split of the batch", "batch cannot be split", func(b *kernel.Builder) {
			b.NodeOutputs("Split", []string{"host"}, []string{"seed", "rest"})
		}},
		{"a slice of the batch", "slice along axis 0", func(b *kernel.Builder) {
			b.InitInts("zero", 0)
			b.InitInts("one", 1)
			b.Node("Slice", []string{"host", "zero", "one"}, "seed")
		}},
		{"a reshape that merges rows", "reshape of [-1 4] to [-1 2]", func(b *kernel.Builder) {
			b.InitInts("shape", -1, 2)
			b.Node("Reshape", []string{"host", "shape"}, "seed")
		}},
		{"a clip bound that is computed", "must be a constant scalar", func(b *kernel.Builder) {
			b.Node("Clip", []string{"host", "host"}, "seed")
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := kernel.NewBuilder("wrong", 4)
			c.build(b)
			file, err := b.Bytes()
			if file != nil || !errors.Is(err, kernel.ErrProfile) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error %v, want it to say %q", err, c.reason)
			}
		})
	}
}

func TestEqualCallsGiveEqualBytes(t *testing.T) {
	first := bytesOf(t, everyOperator(t))
	for range 20 {
		if !bytes.Equal(first, bytesOf(t, everyOperator(t))) {
			t.Fatal("two builds of one kernel differ")
		}
	}
	b := everyOperator(t)
	bytesOf(t, b)
	if !bytes.Equal(first, bytesOf(t, b)) {
		t.Error("Bytes changed the builder")
	}
}

// TestFileBytesAreFixed holds the address of one small kernel, which other
// machines compute too.
func TestFileBytesAreFixed(t *testing.T) {
	b := kernel.NewBuilder("fixed", 2)
	b.Init("w", kernel.FromSlice([]float32{1, 2, 3, 4}, 2, 2))
	b.Frozen("half", scalar(0.5))
	b.Metadata("blueprint_id", "BP002")
	b.Node("MatMul", []string{"host", "w"}, "h")
	b.Node("Mul", []string{"h", "half"}, "seed")
	const want = "b6ce708606be07f127734fccd3f4a79bc07a32ead92419b5e2820e0389c3f183"
	if got := kernel.Checksum(bytesOf(t, b)); got != want {
		t.Errorf("checksum %s, want %s", got, want)
	}
}

func TestZeroAttributeIsWrittenOut(t *testing.T) {
	b := kernel.NewBuilder("zero", 2)
	b.Node("Softmax", []string{"host"}, "s", kernel.IntAttr("axis", 0))
	b.Init("w", ones(2, 2))
	b.Node("Gemm", []string{"s", "w"}, "seed", kernel.FloatAttr("beta", 0))
	file := bytesOf(t, b)
	for name, field := range map[string][]byte{
		"axis": {0x0a, 4, 'a', 'x', 'i', 's', 0xa0, 1, 2, 0x18, 0},
		"beta": {0x0a, 4, 'b', 'e', 't', 'a', 0xa0, 1, 1, 0x15, 0, 0, 0, 0},
	} {
		if !bytes.Contains(file, field) {
			t.Errorf("%s: ONNX wants the value present even when it is zero", name)
		}
	}
}

// TestWhatIsBuiltIsWhatIsLoaded builds random stacks of layers and compares the
// loaded kernel with the same layers run on a tape.
func TestWhatIsBuiltIsWhatIsLoaded(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		features := rapid.IntRange(1, 9).Draw(r, "features")
		depth := rapid.IntRange(1, 6).Draw(r, "depth")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		rows := rapid.IntRange(1, 5).Draw(r, "rows")
		x := random(rng, rows, features)

		b, tape := kernel.NewBuilder("stack", features), kernel.NewTape()
		want, at := tape.Constant(x), "host"
		for layer := range depth {
			w, out := random(rng, features, features), string(rune('a'+layer))
			if layer == depth-1 {
				out = "seed"
			}
			b.Init("w"+out, w)
			b.Node("MatMul", []string{at, "w" + out}, "m"+out)
			b.Node("Tanh", []string{"m" + out}, out)
			want, at = must(t)(tape.Tanh(must(t)(tape.MatMul(want, tape.Constant(w))))), out
		}
		k := loaded(t, b)
		got := must(t)(k.Instantiate().Forward(tape, tape.Constant(x)))
		if !slices.Equal(got.Tensor().Data, want.Tensor().Data) {
			r.Fatal("the loaded kernel computes something else")
		}
		if k.Nodes() != 2*depth || k.ParameterCount() != depth*features*features {
			r.Fatalf("%d nodes, %d parameters", k.Nodes(), k.ParameterCount())
		}
	})
}
