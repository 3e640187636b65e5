package tezzeret_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/tezzeret"
)

// BenchmarkForge compiles, stores and announces every safe and experimental
// blueprint for 32 features, on all cores.
func BenchmarkForge(b *testing.B) {
	for b.Loop() {
		library := newLibrary()
		forge := tezzeret.NewForge(tezzeret.ForgeConfig{
			Compiler: approvedCompiler(32), Blueprints: compilable, Library: library,
		})
		if err := forge.Run(b.Context()); err != nil || len(forge.Result().Compiled) != len(compilable()) {
			b.Fatalf("%v, %+v", err, forge.Result())
		}
	}
	b.ReportMetric(float64(len(compilable())), "kernels/op")
}

// BenchmarkCompile compiles each blueprint alone.
func BenchmarkCompile(b *testing.B) {
	compiler := approvedCompiler(32)
	for _, d := range compilable() {
		b.Run(d.GetName(), func(b *testing.B) {
			for b.Loop() {
				if _, err := compiler.Compile(b.Context(), d, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
