package network

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// BenchmarkJudge is 30 blueprints weighed by a network with a hidden layer of 64.
func BenchmarkJudge(b *testing.B) {
	const hidden = 64
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(shape ...int) *kernel.Tensor {
		tensor := kernel.NewTensor(shape...)
		for i := range tensor.Data {
			tensor.Data[i] = float32(rng.NormFloat64()) / 8
		}
		return tensor
	}
	builder := kernel.NewBuilder("policy", Features)
	builder.Init("w1", random(Features, hidden))
	builder.Init("w2", random(hidden, Features))
	builder.Node("MatMul", []string{"host", "w1"}, "a")
	builder.Node("Relu", []string{"a"}, "h")
	builder.Node("MatMul", []string{"h", "w2"}, "seed")
	file, err := builder.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	network, err := Read(file)
	if err != nil {
		b.Fatal(err)
	}
	rows := make([][]float32, 30)
	for i := range rows {
		rows[i] = slices.Repeat([]float32{float32(i) / 30}, Features)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := network.Judge(b.Context(), rows); err != nil {
			b.Fatal(err)
		}
	}
}
