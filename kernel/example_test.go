package kernel_test

import (
	"fmt"

	"github.com/esper-lite/weatherlight/kernel"
)

// A kernel is built as an ONNX file, loaded strictly, and trained beside a host
// value that it cannot send a gradient to.
func Example() {
	b := kernel.NewBuilder("scaling", 2)
	b.Init("scale", kernel.FromSlice([]float32{2, 3}, 2))
	b.Node("Mul", []string{"host", "scale"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		fmt.Println(err)
		return
	}
	template, err := kernel.Load(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	seed, tape := template.Instantiate(), kernel.NewTape()
	host := tape.Input(kernel.FromSlice([]float32{1, 10}, 1, 2))
	y, err := seed.Forward(tape, tape.Detach(host))
	if err != nil {
		fmt.Println(err)
		return
	}
	loss, err := tape.SoftmaxCrossEntropy(y, []int{0})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := tape.Backward(loss); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("output:", y.Tensor().Data)
	fmt.Println("seed gradient:", seed.Parameters()[0].Grad.Data)
	fmt.Println("host gradient:", host.Grad().Data)
	// Output:
	// output: [2 30]
	// seed gradient: [-1 10]
	// host gradient: [0 0]
}
