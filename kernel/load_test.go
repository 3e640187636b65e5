package kernel_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// gated builds a gated feed-forward block: seed = host + down(up(host) * sigmoid(gate(host))).
func gated(t testing.TB, features, hidden int) *kernel.Builder {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	b := kernel.NewBuilder("gated", features)
	b.Init("up", random(rng, features, hidden))
	b.Init("gate", random(rng, features, hidden))
	b.Init("gate_bias", random(rng, hidden))
	b.Init("down", random(rng, hidden, features))
	b.Node("MatMul", []string{"host", "up"}, "u")
	b.Node("Gemm", []string{"host", "gate", "gate_bias"}, "g")
	b.Node("Sigmoid", []string{"g"}, "s")
	b.Node("Mul", []string{"u", "s"}, "h")
	b.Node("MatMul", []string{"h", "down"}, "d")
	b.Node("Add", []string{"host", "d"}, "seed")
	return b
}

func bytesOf(t testing.TB, b *kernel.Builder) []byte {
	t.Helper()
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func loaded(t testing.TB, b *kernel.Builder) *kernel.Kernel {
	t.Helper()
	k, err := kernel.Load(bytesOf(t, b))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLoadedKernelDescribesItself(t *testing.T) {
	b := gated(t, 8, 16)
	b.Metadata("blueprint_id", "BP021")
	file := bytesOf(t, b)
	k, err := kernel.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if k.Checksum() != kernel.Checksum(file) || len(k.Checksum()) != 64 {
		t.Errorf("checksum %q", k.Checksum())
	}
	if in := k.Input(); in.Name != "host" || !slices.Equal(in.Shape, []int{-1, 8}) {
		t.Errorf("input %+v", in)
	}
	if out := k.Output(); out.Name != "seed" || !slices.Equal(out.Shape, []int{-1, 8}) {
		t.Errorf("output %+v", out)
	}
	if got, want := k.ParameterCount(), 3*8*16+16; got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
	if k.Nodes() != 6 || k.MultiplyAdds() != 3*8*16 || k.Name() != "gated" {
		t.Errorf("%d nodes, %d multiply-adds, name %q", k.Nodes(), k.MultiplyAdds(), k.Name())
	}
	if got := k.Operators(); !slices.Equal(got, []string{"Add", "Gemm", "MatMul", "Mul", "Sigmoid"}) {
		t.Errorf("operators %v", got)
	}
	if v, ok := k.Metadata("blueprint_id"); !ok || v != "BP021" {
		t.Errorf("metadata %q %v", v, ok)
	}
}

func TestKernelComputesWhatItsGraphSays(t *testing.T) {
	k := loaded(t, gated(t, 3, 5))
	instance := k.Instantiate()
	p := instance.Parameters()
	rng := rand.New(rand.NewPCG(3, 3))
	x := random(rng, 4, 3)
	tape := kernel.NewTape()
	y := must(t)(instance.Forward(tape, tape.Constant(x))).Tensor()
	for n := range 4 {
		for f := range 3 {
			want := float64(x.Data[n*3+f])
			for h := range 5 {
				u, g := 0.0, float64(p[2].Value.Data[h])
				for i := range 3 {
					u += float64(x.Data[n*3+i]) * float64(p[0].Value.Data[i*5+h])
					g += float64(x.Data[n*3+i]) * float64(p[1].Value.Data[i*5+h])
				}
				want += u / (1 + math.Exp(-g)) * float64(p[3].Value.Data[h*3+f])
			}
			if got := float64(y.Data[n*3+f]); math.Abs(got-want) > 1e-5 {
				t.Errorf("row %d feature %d: %v, want %v", n, f, got, want)
			}
		}
	}
}

func TestTwoSeedsOfOneBlueprintDoNotShareParameters(t *testing.T) {
	k := loaded(t, gated(t, 4, 4))
	a, b := k.Instantiate(), k.Instantiate()
	before := slices.Clone(b.Parameters()[0].Value.Data)
	for _, p := range a.Parameters() {
		clear(p.Value.Data)
		p.Grad.Data[0] = 1
	}
	if !slices.Equal(b.Parameters()[0].Value.Data, before) || b.Parameters()[0].Grad.Data[0] != 0 {
		t.Error("training one instance changed another")
	}
	if !slices.Equal(k.Instantiate().Parameters()[0].Value.Data, before) {
		t.Error("training an instance changed the template")
	}
}

func TestOneTemplateServesManyGoroutines(t *testing.T) {
	k := loaded(t, gated(t, 4, 8))
	x := random(rand.New(rand.NewPCG(1, 2)), 5, 4)
	results := make([][]float32, 8)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			tape := kernel.NewTape()
			if y, err := k.Instantiate().Forward(tape, tape.Constant(x)); err == nil {
				results[i] = y.Tensor().Data
			}
		})
	}
	group.Wait()
	for i, got := range results {
		if len(got) != 20 || !slices.Equal(got, results[0]) {
			t.Errorf("goroutine %d got another result", i)
		}
	}
}
