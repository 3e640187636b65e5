package forge_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

// BenchmarkForge compiles, stores and announces every safe and experimental
// blueprint for 32 features, on all cores.
func BenchmarkForge(b *testing.B) {
	for b.Loop() {
		library := newLibrary()
		compileAll := forge.New(forge.Config{
			Compiler: approvedCompiler(32), Blueprints: compilable, Library: library,
		})
		if err := compileAll.Run(b.Context()); err != nil || len(compileAll.Result().Compiled) != len(compilable()) {
			b.Fatalf("%v, %+v", err, compileAll.Result())
		}
	}
	b.ReportMetric(float64(len(compilable())), "kernels/op")
}
