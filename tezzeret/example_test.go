package tezzeret_test

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// A blueprint becomes an ONNX file: the same blueprint, parameters and slot give
// the same bytes everywhere, and the strict loader takes them back.
func ExampleCompiler_Compile() {
	blueprint, err := karn.NewCatalog().Get("BP003")
	if err != nil {
		fmt.Println(err)
		return
	}
	forge := tezzeret.NewCompiler(tezzeret.Config{Features: 16})
	compiled, err := forge.Compile(context.Background(), blueprint, tezzeret.Midpoints(blueprint))
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := forge.Compile(context.Background(), blueprint, tezzeret.Midpoints(blueprint))
	if err != nil {
		fmt.Println(err)
		return
	}
	loaded, err := kernel.Load(compiled.Artifact)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(blueprint.GetName(), loaded.Input().Shape, loaded.Output().Shape)
	fmt.Println("parameters:", compiled.ParameterCount == loaded.ParameterCount())
	fmt.Println("repeatable:", compiled.Checksum == again.Checksum)
	// Output:
	// layer_norm_basic [-1 16] [-1 16]
	// parameters: true
	// repeatable: true
}
