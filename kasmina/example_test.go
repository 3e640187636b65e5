package kasmina_test

import (
	"fmt"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// A graft can be used without a manager: attach a kernel, set its stage, and
// the model sees the blend.
func ExampleGraft() {
	b := kernel.NewBuilder("double", 2)
	b.Init("factor", kernel.FromSlice([]float32{2}, 1))
	b.Node("Mul", []string{"host", "factor"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		panic(err)
	}
	double, err := kernel.Load(file)
	if err != nil {
		panic(err)
	}

	graft := kasmina.NewGraft([]string{"layer"}, 2)
	if err := graft.Attach("seed-1", double.Instantiate(), kasmina.BlendConfig{}); err != nil {
		panic(err)
	}
	graft.SetStage("seed-1", leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING)

	tape := kernel.NewTape()
	host := tape.Input(kernel.FromSlice([]float32{1, -3}, 1, 2))
	out, err := graft.Output(tape, host)
	if err != nil {
		panic(err)
	}
	fmt.Println(out.Tensor().Data)
	// Output: [2 -6]
}
