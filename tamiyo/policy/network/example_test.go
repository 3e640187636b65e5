package network_test

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
)

// ExampleRead evaluates a policy that doubles each feature, which is as small as one can be.
func ExampleRead() {
	builder := kernel.NewBuilder("doubling", network.Features)
	builder.Init("two", kernel.FromSlice([]float32{2}, 1))
	builder.Node("Mul", []string{"host", "two"}, "seed")
	payload, err := builder.Bytes()
	if err != nil {
		fmt.Println(err)
		return
	}
	policy, err := network.Read(payload)
	if err != nil {
		fmt.Println(err)
		return
	}
	row := make([]float32, network.Features)
	row[0], row[1] = 0.5, -1
	answers, err := policy.Judge(context.Background(), [][]float32{row})
	fmt.Println(answers[0][:3], err)
	// Output: [1 -2 0] <nil>
}
