package kernel_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

// dropout is a kernel that drops out at a ratio.
func dropout(t testing.TB, ratio float32) *kernel.Kernel {
	b := kernel.NewBuilder("dropout", 50)
	b.Frozen("ratio", scalar(ratio))
	b.Node("Dropout", []string{"host", "ratio"}, "seed")
	return loaded(t, b)
}

func TestDropoutMakesNoiseOnlyWhileTraining(t *testing.T) {
	instance, tp := dropout(t, 0.25).Instantiate(), kernel.NewTape()
	x := ones(200, 50)
	if y := must(t)(instance.Forward(tp, tp.Constant(x))); !slices.Equal(y.Tensor().Data, x.Data) {
		t.Error("inference is not the identity")
	}
	tp.Train(source(1))
	in := tp.Input(x)
	y := must(t)(instance.Forward(tp, in))
	dropped := 0
	for _, v := range y.Tensor().Data {
		switch {
		case v == 0:
			dropped++
		case math.Abs(float64(v)-1/0.75) > 1e-6:
			t.Fatalf("an element of %v, want 0 or 1/0.75", v)
		}
	}
	if share := float64(dropped) / float64(len(x.Data)); math.Abs(share-0.25) > 0.02 {
		t.Errorf("%.3f of the elements were dropped, want 0.25", share)
	}
	if err := tp.Backward(must(t)(tp.ReduceSum(y, false))); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(in.Grad().Data, y.Tensor().Data) {
		t.Error("the gradient does not pass where the values passed")
	}
	tp.Reset()
	tp.Train(nil)
	if y := must(t)(instance.Forward(tp, tp.Constant(x))); tp.Training() || !slices.Equal(y.Tensor().Data, x.Data) {
		t.Error("inference after training is not the identity")
	}
}

func TestNoiseRepeatsWithItsSource(t *testing.T) {
	k := dropout(t, 0.5)
	run := func(seed uint64) []float32 {
		tp := kernel.NewTape()
		tp.Train(source(seed))
		return must(t)(k.Instantiate().Forward(tp, tp.Constant(ones(4, 50)))).Tensor().Data
	}
	if !slices.Equal(run(1), run(1)) {
		t.Error("one source gave two noises")
	}
	if slices.Equal(run(1), run(2)) {
		t.Error("two sources gave one noise")
	}
}

// batchNormed is a kernel of batch normalisation alone, with momentum 0.75.
func batchNormed(t testing.TB) *kernel.Kernel {
	b := kernel.NewBuilderFor("batchnorm", 2, 3)
	for _, name := range []string{"scale", "shift", "mean", "variance"} {
		b.Init(name, ones(2))
	}
	b.Node("BatchNormalization", []string{"host", "scale", "shift", "mean", "variance"}, "seed",
		kernel.FloatAttr("momentum", 0.75))
	return loaded(t, b)
}

func TestBatchNormUsesAndMovesStatisticsWhileTraining(t *testing.T) {
	k := batchNormed(t)
	instance, tp, x := k.Instantiate(), kernel.NewTape(), random(source(3), 8, 2, 3)
	names := []string{}
	for _, s := range instance.Statistics() {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"mean", "variance"}) || len(instance.Parameters()) != 2 {
		t.Fatalf("statistics %v, %d parameters", names, len(instance.Parameters()))
	}
	tp.Train(source(1))
	y := must(t)(instance.Forward(tp, tp.Constant(x))).Tensor()
	for c := range 2 {
		mean, variance := channelMoments(x, c)
		after, spread := channelMoments(y, c)
		if math.Abs(after-1) > 1e-5 || math.Abs(spread-1) > 1e-3 {
			t.Errorf("channel %d: mean %v, variance %v after normalising, want 1 and 1", c, after, spread)
		}
		got := [2]float32{instance.Statistics()[0].Value.Data[c], instance.Statistics()[1].Value.Data[c]}
		if !near(float64(got[0]), 0.75+0.25*mean, 1e-6) || !near(float64(got[1]), 0.75+0.25*variance, 1e-6) {
			t.Errorf("channel %d: running statistics %v of batch %v and %v", c, got, mean, variance)
		}
	}
	if other := k.Instantiate().Statistics()[0].Value.Data; other[0] != 1 || other[1] != 1 {
		t.Error("training one instance moved the statistics of another")
	}
}

func channelMoments(x *kernel.Tensor, c int) (mean, variance float64) {
	var all []float64
	for n := range x.Shape[0] {
		for i := range x.Shape[2] {
			all = append(all, float64(x.Data[(n*x.Shape[1]+c)*x.Shape[2]+i]))
		}
	}
	return refMoments(all)
}

func TestInferenceUsesTheRunningStatisticsAndLeavesThem(t *testing.T) {
	instance, tp := batchNormed(t).Instantiate(), kernel.NewTape()
	x := random(source(4), 5, 2, 3)
	instance.Statistics()[0].Value.Data[0] = 3
	y := must(t)(instance.Forward(tp, tp.Constant(x))).Tensor()
	want := (float64(x.Data[0])-3)/math.Sqrt(1+1e-5) + 1
	if !near(float64(y.Data[0]), want, 1e-6) {
		t.Errorf("element %v, want %v", y.Data[0], want)
	}
	if got := instance.Statistics()[0].Value.Data[0]; got != 3 {
		t.Errorf("inference moved the mean to %v", got)
	}
}

func TestASingleElementOfAChannelKeepsToTheRunningStatistics(t *testing.T) {
	b := kernel.NewBuilder("batchnorm", 2)
	for _, name := range []string{"scale", "shift", "mean", "variance"} {
		b.Init(name, ones(2))
	}
	b.Node("BatchNormalization", []string{"host", "scale", "shift", "mean", "variance"}, "seed")
	instance, tp := loaded(t, b).Instantiate(), kernel.NewTape()
	tp.Train(source(1))
	y := must(t)(instance.Forward(tp, tp.Constant(kernel.FromSlice([]float32{4, 5}, 1, 2)))).Tensor()
	if !near(float64(y.Data[0]), 3/math.Sqrt(1+1e-5)+1, 1e-6) || instance.Statistics()[0].Value.Data[0] != 1 {
		t.Errorf("a single row gave %v and moved the mean to %v", y.Data, instance.Statistics()[0].Value.Data)
	}
}

func TestBrokenElementsStayVisible(t *testing.T) {
	nan := float32(math.NaN())
	window := kernel.Window{Kernel: []int{2}}
	for name, run := range map[string]func(*tape, value) (value, error){
		"max pool":     func(t *tape, x value) (value, error) { return t.MaxPool(x, window) },
		"average pool": func(t *tape, x value) (value, error) { return t.AveragePool(x, window, false) },
		"largest":      func(t *tape, x value) (value, error) { return t.ReduceMax(x, false) },
		"max":          func(t *tape, x value) (value, error) { return t.Max(t.Constant(scalar(9)), x) },
	} {
		for at := range 2 {
			x := kernel.FromSlice([]float32{1, 1}, 1, 1, 2)
			x.Data[at] = nan
			tp := kernel.NewTape()
			y := must(t)(run(tp, tp.Constant(x))).Tensor().Data
			if !slices.ContainsFunc(y, func(v float32) bool { return v != v }) {
				t.Errorf("%s hid a NaN: %v", name, y)
			}
		}
	}
}

func TestNoGradientFlowsToWhatWasNotChosen(t *testing.T) {
	tp := kernel.NewTape()
	x := tp.Input(kernel.FromSlice([]float32{-1, 4}, 2))
	root := must(t)(tp.Sqrt(x)) // NaN at -1, with a gradient of NaN
	positive := must(t)(tp.Greater(x, tp.Constant(scalar(0))))
	y := must(t)(tp.Where(positive, root, tp.Constant(scalar(0))))
	if positive.Grad() != nil {
		t.Error("a truth value has storage for a gradient")
	}
	if err := tp.Backward(must(t)(tp.ReduceSum(y, false))); err != nil {
		t.Fatal(err)
	}
	if got := root.Grad().Data; got[0] != 0 || got[1] != 1 {
		t.Errorf("gradient %v, want 0 and 1", got)
	}
}
