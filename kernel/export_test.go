package kernel_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// normalised is a kernel with weights, statistics, constants, and attributes
// that are zero.
func normalised(t *testing.T) *kernel.Builder {
	t.Helper()
	b := kernel.NewBuilder("normalised", 3)
	ones := kernel.FromSlice([]float32{1, 1, 1}, 3)
	b.Init("w", kernel.FromSlice([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 3, 3))
	b.Init("scale", ones)
	b.Init("bias", kernel.NewTensor(3))
	b.Frozen("mean", kernel.NewTensor(3))
	b.Frozen("variance", ones)
	b.Frozen("half", kernel.FromSlice([]float32{0.5}))
	b.Node("Gemm", []string{"host", "w"}, "g", kernel.IntAttr("transB", 0), kernel.FloatAttr("beta", 0))
	b.Node("BatchNormalization", []string{"g", "scale", "bias", "mean", "variance"}, "n")
	b.Node("Mul", []string{"n", "half"}, "seed")
	b.Metadata("blueprint_id", "BP001")
	return b
}

func written(t *testing.T, b *kernel.Builder) []byte {
	t.Helper()
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func outputsOf(t *testing.T, i *kernel.Instance, x *kernel.Tensor) []float32 {
	t.Helper()
	tape := kernel.NewTape()
	out, err := i.Forward(tape, tape.Constant(x))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(out.Tensor().Data)
}

func loadedOf(t *testing.T, file []byte) *kernel.Kernel {
	t.Helper()
	loaded, err := kernel.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestUntrainedInstanceIsWrittenAsTheFileItCameFrom(t *testing.T) {
	t.Parallel()
	file := written(t, normalised(t))
	again, err := loadedOf(t, file).Instantiate().Bytes()
	if err != nil || !bytes.Equal(file, again) {
		t.Errorf("%d bytes became %d, %v", len(file), len(again), err)
	}
}

func TestTrainedInstanceComputesTheSameBitsAfterAFile(t *testing.T) {
	t.Parallel()
	instance := loadedOf(t, written(t, normalised(t))).Instantiate()
	x := kernel.FromSlice([]float32{1, -2, 0.5, 3, 1, -1}, 2, 3)
	tape := kernel.NewTape()
	tape.Train(rand.New(rand.NewPCG(1, 1)))
	if _, err := instance.Forward(tape, tape.Constant(x)); err != nil { // moves the statistics
		t.Fatal(err)
	}
	instance.Parameters()[0].Value.Data[4] = -0.125
	file, err := instance.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again := loadedOf(t, file)
	if got, want := outputsOf(t, again.Instantiate(), x), outputsOf(t, instance, x); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if id, _ := again.Metadata("blueprint_id"); id != "BP001" || again.ParameterCount() != 15 {
		t.Errorf("blueprint %q with %d parameters", id, again.ParameterCount())
	}
}

func TestInstanceThatIsNotFiniteIsNotWritten(t *testing.T) {
	t.Parallel()
	instance := loadedOf(t, written(t, normalised(t))).Instantiate()
	instance.Parameters()[0].Value.Data[0] = float32(math.NaN())
	if _, err := instance.Bytes(); !errors.Is(err, kernel.ErrProfile) {
		t.Errorf("got %v", err)
	}
}

func TestKernelsAreInlinedOneBehindTheOther(t *testing.T) {
	t.Parallel()
	k := loadedOf(t, written(t, normalised(t)))
	first, second := k.Instantiate(), k.Instantiate()
	second.Parameters()[0].Value.Data[0] = 7
	b := kernel.NewNetworkBuilder("network", []int{3}, []int{2})
	value := b.Inline("b.", second, b.Inline("a.", first, "host"))
	b.Init("head", kernel.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 3, 2))
	b.Node("MatMul", []string{value, "head"}, "seed")
	network := loadedOf(t, written(t, b))
	if !slices.Equal(network.Output().Shape, []int{-1, 2}) || network.ParameterCount() != 2*15+6 {
		t.Errorf("output %v, %d parameters", network.Output(), network.ParameterCount())
	}
	x := kernel.FromSlice([]float32{1, -2, 0.5}, 1, 3)
	between := kernel.FromSlice(outputsOf(t, second, kernel.FromSlice(outputsOf(t, first, x), 1, 3)), 1, 3)
	want := []float32{
		between.Data[0] + 3*between.Data[1] + 5*between.Data[2],
		2*between.Data[0] + 4*between.Data[1] + 6*between.Data[2],
	}
	for i, got := range outputsOf(t, network.Instantiate(), x) {
		if math.Abs(float64(got-want[i])) > 1e-4*math.Abs(float64(want[i])) {
			t.Errorf("element %d is %v, want %v", i, got, want[i])
		}
	}
}

func TestNetworkWithoutAnOutputIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := kernel.NewNetworkBuilder("network", []int{3}, nil).Bytes(); !errors.Is(err, kernel.ErrProfile) {
		t.Errorf("got %v", err)
	}
}
