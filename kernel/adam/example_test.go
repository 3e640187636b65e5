package adam_test

import (
	"fmt"
	"math"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/kernel/adam"
)

// Example looks for the weight at which (w-3)² is smallest.
func Example() {
	weight := kernel.NewParameter("w", kernel.NewTensor(1))
	var optimizer adam.Optimizer
	tape := kernel.NewTape()
	for range 500 {
		tape.Reset()
		off, err := tape.Sub(tape.Parameter(weight), tape.Constant(kernel.FromSlice([]float32{3}, 1)))
		if err != nil {
			fmt.Println(err)
			return
		}
		square, err := tape.Mul(off, off)
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := tape.Backward(square); err != nil {
			fmt.Println(err)
			return
		}
		optimizer.Step(0.1, []*kernel.Parameter{weight})
	}
	fmt.Println(math.Round(float64(weight.Value.Data[0])*100) / 100)
	// Output: 3
}
