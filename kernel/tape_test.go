package kernel_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

func TestShapesThatDoNotFitAreAnErrorAndNeverAPanic(t *testing.T) {
	cases := []struct {
		name string
		run  func(t *tape, a, b value) (value, error) // a is [3 4], b is [5 2]
	}{
		{"matmul", of2twice((*tape).MatMul)},
		{"add", of2twice((*tape).Add)},
		{"gemm", func(t *tape, a, b value) (value, error) { return t.Gemm(a, b, value{}, 1, 1, false, false) }},
		{"gemm c", func(t *tape, a, b value) (value, error) { return t.Gemm(a, a, b, 1, 1, false, true) }},
		{"softmax", func(t *tape, a, _ value) (value, error) { return t.Softmax(a, 2) }},
		{"layernorm", func(t *tape, a, b value) (value, error) { return t.LayerNorm(a, b, value{}, 1) }},
		{"batchnorm", func(t *tape, a, b value) (value, error) { return t.BatchNorm(a, b, b, b, b, 1) }},
		{"concat", func(t *tape, a, b value) (value, error) { return t.Concat(1, a, b) }},
		{"concat nothing", func(t *tape, _, _ value) (value, error) { return t.Concat(0) }},
		{"concat axis", func(t *tape, a, _ value) (value, error) { return t.Concat(5, a) }},
		{"slice", func(t *tape, a, _ value) (value, error) { return t.Slice(a, 1, 3, 5) }},
		{"slice backwards", func(t *tape, a, _ value) (value, error) { return t.Slice(a, 1, 3, 2) }},
		{"reshape", func(t *tape, a, _ value) (value, error) { return t.Reshape(a, 5, 5) }},
		{"reshape twice open", func(t *tape, a, _ value) (value, error) { return t.Reshape(a, -1, -1) }},
		{"reshape negative", func(t *tape, a, _ value) (value, error) { return t.Reshape(a, -3, -4) }},
		{"transpose", func(t *tape, a, _ value) (value, error) { return t.Transpose(a, 1, 1) }},
		{"mean", func(t *tape, a, _ value) (value, error) { return t.ReduceMean(a, true, 0, -2) }},
		{"pool", func(t *tape, a, _ value) (value, error) { return t.GlobalAveragePool(a) }},
		{"cross entropy rows", func(t *tape, a, _ value) (value, error) { return t.SoftmaxCrossEntropy(a, []int{1}) }},
		{"cross entropy label", func(t *tape, a, _ value) (value, error) {
			return t.SoftmaxCrossEntropy(a, []int{0, 4, 0})
		}},
		{"conv", of2twice(func(t *tape, a, b value) (value, error) { return t.Conv(a, b, value{}, kernel.Window{}) })},
		{"conv window", func(t *tape, a, _ value) (value, error) {
			return t.Conv(maps(t, a), maps(t, a), value{}, kernel.Window{Pads: []int{-1, 0}})
		}},
		{"conv groups", func(t *tape, a, _ value) (value, error) {
			return t.Conv(maps(t, a), maps(t, a), value{}, kernel.Window{Groups: -1})
		}},
		{"conv bias", func(t *tape, a, b value) (value, error) {
			return t.Conv(maps(t, a), maps(t, a), b, kernel.Window{})
		}},
		{"max pool", func(t *tape, a, _ value) (value, error) { return t.MaxPool(maps(t, a), kernel.Window{}) }},
		{"max pool window", func(t *tape, a, _ value) (value, error) {
			return t.MaxPool(maps(t, a), kernel.Window{Kernel: []int{5}})
		}},
		{"average pool padding", func(t *tape, a, _ value) (value, error) {
			return t.AveragePool(maps(t, a), kernel.Window{Kernel: []int{2}, Pads: []int{2, 0}}, true)
		}},
		{"where", func(t *tape, a, b value) (value, error) { return t.Where(a, a, b) }},
		{"greater", of2twice((*tape).Greater)},
		{"max", of2twice((*tape).Max)},
		{"gather", func(t *tape, a, _ value) (value, error) { return t.Gather(a, 0, []int{3}, 1) }},
		{"gather shape", func(t *tape, a, _ value) (value, error) { return t.Gather(a, 0, []int{1, 2}, 3) }},
		{"gather axis", func(t *tape, a, _ value) (value, error) { return t.Gather(a, 2, []int{1}, 1) }},
		{"expand", func(t *tape, a, _ value) (value, error) { return t.Expand(a, 5, 1) }},
		{"expand negative", func(t *tape, a, _ value) (value, error) { return t.Expand(a, -1, 1) }},
		{"pad", func(t *tape, a, _ value) (value, error) { return t.Pad(a, 0, 1, 1) }},
		{"pad negative", func(t *tape, a, _ value) (value, error) { return t.Pad(a, 0, 0, -1, 0, 0) }},
		{"sum", func(t *tape, a, _ value) (value, error) { return t.ReduceSum(a, true, 2) }},
		{"largest", func(t *tape, a, _ value) (value, error) { return t.ReduceMax(a, true, 0, 0) }},
		{"batchnorm training", func(t *tape, a, b value) (value, error) { return t.BatchNormTraining(a, b, b, 1) }},
		{"dropout ratio", func(t *tape, a, _ value) (value, error) { return t.DropoutNoise(a, 1) }},
		{"a tensor whose data does not fill its shape", func(t *tape, a, _ value) (value, error) {
			return t.Add(a, t.Constant(kernel.FromSlice([]float32{1}, 3, 4)))
		}},
		{"a loss of many elements", func(t *tape, a, _ value) (value, error) { return a, t.Backward(a) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tp := kernel.NewTape()
			a, b := tp.Input(kernel.NewTensor(3, 4)), tp.Input(kernel.NewTensor(5, 2))
			if _, err := c.run(tp, a, b); !errors.Is(err, kernel.ErrShape) {
				t.Errorf("error %v, want ErrShape", err)
			}
		})
	}
}

// maps gives a, [3 4], a dimension of space.
func maps(t *tape, a value) value {
	x, _ := t.Reshape(a, 3, 1, 4)
	return x
}

func of2twice(f func(t *tape, a, b value) (value, error)) func(t *tape, a, b value) (value, error) {
	return f
}

func TestValueOfAnotherTapeOrBeforeResetIsRefused(t *testing.T) {
	tp, other := kernel.NewTape(), kernel.NewTape()
	stale := tp.Input(kernel.NewTensor(2))
	tp.Reset()
	live := tp.Input(kernel.NewTensor(2))
	for name, v := range map[string]value{"stale": stale, "foreign": other.Input(kernel.NewTensor(2)), "zero": {}} {
		if _, err := tp.Add(live, v); !errors.Is(err, kernel.ErrValue) {
			t.Errorf("%s: error %v, want ErrValue", name, err)
		}
		if err := tp.Backward(v); !errors.Is(err, kernel.ErrValue) {
			t.Errorf("%s: Backward gives %v, want ErrValue", name, err)
		}
	}
	if stale.Tensor() != nil || stale.Grad() != nil || stale.Shape() != nil || tp.Detach(stale).Valid() {
		t.Error("a stale value still shows data")
	}
}

func TestParameterGradientsAddUpUntilTheyAreCleared(t *testing.T) {
	p := kernel.NewParameter("p", kernel.FromSlice([]float32{3}, 1))
	tp := kernel.NewTape()
	v := tp.Parameter(p)
	square := must(t)(tp.Mul(v, v))
	for step := range 2 {
		if err := tp.Backward(square); err != nil {
			t.Fatal(err)
		}
		if got, want := p.Grad.Data[0], float32(6*(step+1)); got != want {
			t.Errorf("after %d passes: %v, want %v", step+1, got, want)
		}
	}
	if p.ZeroGrad(); p.Grad.Data[0] != 0 {
		t.Error("ZeroGrad left a gradient")
	}
}

func TestInputGradientIsThatOfTheLastBackward(t *testing.T) {
	tp := kernel.NewTape()
	x := tp.Input(kernel.FromSlice([]float32{2}, 1))
	double, triple := must(t)(tp.Scale(x, 2)), must(t)(tp.Scale(x, 3))
	for _, c := range []struct {
		loss value
		want float32
	}{{double, 2}, {triple, 3}, {double, 2}} {
		if err := tp.Backward(c.loss); err != nil {
			t.Fatal(err)
		}
		if got := x.Grad().Data[0]; got != c.want {
			t.Errorf("gradient %v, want %v", got, c.want)
		}
	}
}

func TestGradientOfTheStepBeforeIsNotShownAfterReset(t *testing.T) {
	tp, x := kernel.NewTape(), kernel.FromSlice([]float32{2}, 1)
	loss := must(t)(tp.Scale(tp.Input(x), 2))
	if err := tp.Backward(loss); err != nil {
		t.Fatal(err)
	}
	tp.Reset()
	if got := tp.Input(x).Grad().Data[0]; got != 0 {
		t.Errorf("gradient %v before any Backward", got)
	}
}

func TestLossWithoutAnythingTrainableIsNoError(t *testing.T) {
	tp := kernel.NewTape()
	x := tp.Input(kernel.FromSlice([]float32{2}, 1))
	if err := tp.Backward(tp.Detach(x)); err != nil {
		t.Fatal(err)
	}
	if x.Grad().Data[0] != 0 {
		t.Error("a gradient passed a detached value")
	}
}

func TestAnyNumberOfProcessorsGivesTheSameBits(t *testing.T) {
	run := func() []float32 {
		c := newClassifier()
		c.step(t)
		c.step(t)
		return slices.Concat(c.layers[0].Grad.Data, c.layers[3].Grad.Data, convolutionGradients(t), productGradients(t))
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	first := run()
	for _, processors := range []int{1, 2, 3, 8} {
		runtime.GOMAXPROCS(processors)
		if !slices.Equal(first, run()) {
			t.Fatalf("the same step gave other bits on %d processors", processors)
		}
	}
}

// productGradients are those of products that are shared out by rows, by blocks
// and by examples.
func productGradients(t *testing.T) []float32 {
	rng, tp := rand.New(rand.NewPCG(4, 5)), kernel.NewTape()
	var gradients []float32
	for _, shapes := range [][2][]int{{{30, 700}, {700, 65}}, {{300, 70}, {70, 90}}, {{9, 40, 50}, {9, 50, 60}}} {
		a, b := tp.Input(random(rng, shapes[0]...)), tp.Input(random(rng, shapes[1]...))
		y := must(t)(tp.MatMul(a, b))
		if err := tp.Backward(must(t)(tp.ReduceMean(must(t)(tp.Mul(y, y)), false))); err != nil {
			t.Fatal(err)
		}
		gradients = slices.Concat(gradients, y.Tensor().Data, a.Grad().Data, b.Grad().Data)
	}
	return gradients
}

// convolutionGradients are those of a batch large enough to be shared out.
func convolutionGradients(t *testing.T) []float32 {
	instance, tp := convolution(t, 2), kernel.NewTape()
	x := tp.Input(random(rand.New(rand.NewPCG(2, 2)), 31, 8, 16, 16))
	y := must(t)(instance.Forward(tp, x))
	if err := tp.Backward(must(t)(tp.ReduceMean(must(t)(tp.Mul(y, y)), false))); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(instance.Parameters()[0].Grad.Data, instance.Parameters()[1].Grad.Data, x.Grad().Data)
}

func TestSteadyStepsReuseTheirBuffers(t *testing.T) {
	instance := loaded(t, gated(t, 8, 16)).Instantiate()
	tp, x := kernel.NewTape(), random(rand.New(rand.NewPCG(1, 1)), 16, 8)
	step := func() {
		tp.Reset()
		y, err := instance.Forward(tp, tp.Input(x))
		if err != nil {
			t.Fatal(err)
		}
		loss, err := tp.ReduceMean(y, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := tp.Backward(loss); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if allocs := testing.AllocsPerRun(100, step); allocs > 2 {
		t.Errorf("%v allocations a step, want next to none", allocs)
	}
}

func TestTapeServesBatchesOfAnySize(t *testing.T) {
	instance := loaded(t, gated(t, 3, 5)).Instantiate()
	rng := rand.New(rand.NewPCG(9, 9))
	reused := kernel.NewTape()
	for _, rows := range []int{4, 1, 9, 2, 9} {
		x := random(rng, rows, 3)
		reused.Reset()
		fresh := kernel.NewTape()
		a := must(t)(instance.Forward(reused, reused.Constant(x)))
		b := must(t)(instance.Forward(fresh, fresh.Constant(x)))
		if !slices.Equal(a.Tensor().Data, b.Tensor().Data) || !slices.Equal(a.Shape(), []int{rows, 3}) {
			t.Errorf("%d rows: the reused tape gives another result", rows)
		}
	}
}

func TestForwardRefusesWhatDoesNotFitTheKernel(t *testing.T) {
	instance := loaded(t, gated(t, 4, 4)).Instantiate()
	tp := kernel.NewTape()
	for _, shape := range [][]int{{2, 5}, {4}, {2, 4, 1}, {0, 4}} {
		if _, err := instance.Forward(tp, tp.Constant(kernel.NewTensor(shape...))); !errors.Is(err, kernel.ErrShape) {
			t.Errorf("%v: error %v, want ErrShape", shape, err)
		}
	}
	huge := kernel.FromSlice(nil, 1<<40, 4) // a claim, with no memory behind it
	if _, err := instance.Forward(tp, tp.Constant(huge)); !errors.Is(err, kernel.ErrTooLarge) {
		t.Errorf("huge batch: error %v, want ErrTooLarge", err)
	}
	if _, err := instance.Forward(tp, value{}); err == nil {
		t.Error("the zero value ran")
	}
}
