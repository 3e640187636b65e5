package kernel

// Builder writes a kernel as an ONNX file. Methods record; Bytes reports the
// first mistake. Equal calls give equal bytes.
type Builder struct {
	err error
}

// Attr is a constant attribute of a node.
type Attr struct{ name string }

// NewBuilder starts a kernel whose input "host" and output "seed" are [N, features].
func NewBuilder(name string, features int) *Builder { return &Builder{} }

// Init adds a trainable initialiser.
func (b *Builder) Init(name string, t *Tensor) {}

// Frozen adds a constant float initialiser that is not trained.
func (b *Builder) Frozen(name string, t *Tensor) {}

// InitInts adds a constant list of int64 (a shape, axes, sizes).
func (b *Builder) InitInts(name string, v ...int64) {}

// Node adds an operator with one output.
func (b *Builder) Node(op string, inputs []string, output string, attrs ...Attr) {}

// NodeOutputs adds an operator with several outputs (Split).
func (b *Builder) NodeOutputs(op string, inputs, outputs []string, attrs ...Attr) {}

// Metadata adds a metadata entry.
func (b *Builder) Metadata(key, value string) {}

// Bytes is the ONNX file.
func (b *Builder) Bytes() ([]byte, error) { return nil, b.err }

// IntAttr is an int64 attribute.
func IntAttr(name string, v int64) Attr { return Attr{name: name} }

// FloatAttr is a float32 attribute.
func FloatAttr(name string, v float32) Attr { return Attr{name: name} }

// IntsAttr is a list of int64.
func IntsAttr(name string, v ...int64) Attr { return Attr{name: name} }
