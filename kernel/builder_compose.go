package kernel

// Silu adds x * sigmoid(x), which the operator set has no operator for
// (Ramachandran, Zoph and Le 2017).
func (b *Builder) Silu(x, output string) {
	gate := output + ".gate"
	b.Node("Sigmoid", []string{x}, gate)
	b.Node("Mul", []string{x, gate}, output)
}

// Gelu adds x/2 * (1 + erf(x/sqrt 2)), the exact form (Hendrycks and Gimpel
// 2016), which the operator set has no operator for.
func (b *Builder) Gelu(x, output string) {
	name := func(part string) string { return output + "." + part }
	b.Frozen(name("root"), FromSlice([]float32{0.70710678}))
	b.Frozen(name("one"), FromSlice([]float32{1}))
	b.Frozen(name("half"), FromSlice([]float32{0.5}))
	b.Node("Mul", []string{x, name("root")}, name("scaled"))
	b.Node("Erf", []string{name("scaled")}, name("erf"))
	b.Node("Add", []string{name("erf"), name("one")}, name("sum"))
	b.Node("Mul", []string{x, name("half")}, name("halved"))
	b.Node("Mul", []string{name("halved"), name("sum")}, output)
}

// Loop unrolls a loop, which the profile has no sub-graphs for: body adds the
// nodes of one step from the carried value's name and returns the name it has
// after the step. Loop returns the name after the last one.
func (b *Builder) Loop(count int, carried string, body func(step int, carried string) string) string {
	if count < 0 || count > MaxNodes {
		b.fail("a loop of %d steps, allowed are 0 to %d", count, MaxNodes)
		return carried
	}
	for step := range count {
		carried = body(step, carried)
	}
	return carried
}
