package kernel

// Unchecked is the file of a builder as a tool writes it that does not load what it
// writes.
func (b *Builder) Unchecked() ([]byte, error) { return b.unchecked() }
