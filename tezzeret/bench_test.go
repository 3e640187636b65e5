package tezzeret_test

import "testing"

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
