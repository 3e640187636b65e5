package tezzeret

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/kernel"
)

// The names of a kernel's input and output.
const (
	hostInput  = "host"
	seedOutput = "seed"
)

// graph composes one kernel over values whose first dimension is the batch. It
// records nodes and initialisers in the order of their making, which is also
// the order of the file, and remembers enough to describe the layers
// afterwards. Shapes are those of one example, without the batch.
type graph struct {
	slot    Slot
	params  map[string]float64
	weights *weights

	// Set by enter: the slot's values as the architecture views them, the grid
	// of positions (nil for a plain feature vector) and the width of a position.
	input    string
	grid     []int
	features int

	nodes []node
	inits []initialiser
	shape map[string][]int
}

// node is one operator with one output.
type node struct {
	op     string
	inputs []string
	output string
	attrs  []kernel.Attr
}

// initialiser is a named constant; a frozen one is not trained, and one of
// indices has no tensor.
type initialiser struct {
	name    string
	tensor  *kernel.Tensor
	indices []int64
	frozen  bool
}

func newGraph(slot Slot, params map[string]float64, w *weights) *graph {
	return &graph{
		slot: slot, params: params, weights: w, input: hostInput,
		shape: map[string][]int{hostInput: slot.Shape()},
	}
}

// apply adds a node whose output has the shape of its first input, but is
// width wide, and returns the output's name.
func (g *graph) apply(op string, width int, inputs []string, attrs ...kernel.Attr) string {
	shape := slices.Clone(g.shape[inputs[0]])
	shape[len(shape)-1] = width
	return g.applyTo(op, shape, inputs, attrs...)
}

// applyTo adds a node whose output has the given shape.
func (g *graph) applyTo(op string, shape []int, inputs []string, attrs ...kernel.Attr) string {
	output := strings.ToLower(op) + "_" + strconv.Itoa(len(g.nodes))
	g.nodes = append(g.nodes, node{op: op, inputs: inputs, output: output, attrs: attrs})
	g.shape[output] = shape
	return output
}

// width is the last dimension of a value, 0 for what has no known shape.
func (g *graph) width(x string) int {
	shape := g.shape[x]
	if len(shape) == 0 {
		return 0
	}
	return shape[len(shape)-1]
}

// lastAxis is the attribute that names the last dimension of x.
func (g *graph) lastAxis(x string) kernel.Attr { return kernel.IntAttr("axis", int64(len(g.shape[x]))) }

// unary applies an operator that keeps the shape of x.
func (g *graph) unary(op, x string, attrs ...kernel.Attr) string {
	return g.applyTo(op, g.shape[x], []string{x}, attrs...)
}

// binary applies an operator to a and b, where b is shaped as a or broadcast.
func (g *graph) binary(op, a, b string) string {
	return g.applyTo(op, g.shape[a], []string{a, b})
}

// trainable adds an initialiser that learns.
func (g *graph) trainable(role string, t *kernel.Tensor) string {
	return g.initialise(role, t, false)
}

// frozen adds an initialiser that does not learn.
func (g *graph) frozen(role string, t *kernel.Tensor) string {
	return g.initialise(role, t, true)
}

func (g *graph) initialise(role string, t *kernel.Tensor, frozen bool) string {
	name := role + "_" + strconv.Itoa(len(g.inits))
	g.inits = append(g.inits, initialiser{name: name, tensor: t, frozen: frozen})
	return name
}

// indices adds a list of integers that an operator wants: a shape, axes.
func (g *graph) indices(role string, values []int64) string {
	name := role + "_" + strconv.Itoa(len(g.inits))
	g.inits = append(g.inits, initialiser{name: name, indices: values, frozen: true})
	return name
}

// scalar adds a constant that broadcasts over everything.
func (g *graph) scalar(value float64) string {
	return g.frozen("scalar", g.weights.filled(value, 1))
}

// linear is x·w + b along the last dimension, with w of shape [in, out] and the
// bias filled with bias.
func (g *graph) linear(x string, w *kernel.Tensor, bias float64) string {
	return g.affine(x, g.trainable("weight", w), g.trainable("bias", g.weights.filled(bias, w.Shape[1])), w.Shape[1])
}

// affine is linear with initialisers that exist already.
func (g *graph) affine(x, weight, bias string, out int) string {
	if len(g.shape[x]) == 1 {
		return g.apply("Gemm", out, []string{x, weight, bias})
	}
	return g.binary("Add", g.apply("MatMul", out, []string{x, weight}), bias)
}

// concat joins values along the last dimension.
func (g *graph) concat(values ...string) string {
	width := 0
	for _, v := range values {
		width += g.width(v)
	}
	return g.apply("Concat", width, values, g.lastAxis(values[0]))
}

// softmax normalises along the last dimension.
func (g *graph) softmax(x string) string { return g.unary("Softmax", x, g.lastAxis(x)) }

// silu is x·σ(x) (Ramachandran et al. 2017, "Searching for activation functions").
func (g *graph) silu(x string) string { return g.binary("Mul", x, g.unary("Sigmoid", x)) }

// gelu is x·Φ(x) in its exact form, 0.5·x·(1 + erf(x/√2)).
func (g *graph) gelu(x string) string {
	cumulative := g.unary("Erf", g.binary("Mul", x, g.scalar(math.Sqrt2/2)))
	return g.binary("Mul", g.binary("Mul", x, g.scalar(0.5)), g.binary("Add", cumulative, g.scalar(1)))
}

// scaled is x times a constant.
func (g *graph) scaled(x string, factor float64) string { return g.binary("Mul", x, g.scalar(factor)) }

// mean averages dimension axis of each example, and keeps it at size 1 or
// leaves it out.
func (g *graph) mean(x string, axis int, keep bool) string {
	shape := slices.Clone(g.shape[x])
	if shape[axis] = 1; !keep {
		shape = slices.Delete(shape, axis, axis+1)
	}
	return g.applyTo("ReduceMean", shape, []string{x},
		kernel.IntsAttr("axes", int64(axis)+1), kernel.IntAttr("keepdims", int64(flag(keep))))
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

// joinAlong joins values along dimension axis of each example.
func (g *graph) joinAlong(axis int, values ...string) string {
	shape := slices.Clone(g.shape[values[0]])
	for _, v := range values[1:] {
		shape[axis] += g.shape[v][axis]
	}
	return g.applyTo("Concat", shape, values, kernel.IntAttr("axis", int64(axis)+1))
}

// product is the matrix product of the last two dimensions of a and b; the
// dimensions before them are those of the longer one.
func (g *graph) product(a, b string) string {
	left, right := g.shape[a], g.shape[b]
	shape := slices.Clone(left)
	if len(right) > len(left) {
		shape = slices.Clone(right)
	}
	shape[len(shape)-2], shape[len(shape)-1] = left[len(left)-2], right[len(right)-1]
	return g.applyTo("MatMul", shape, []string{a, b})
}

// layerNorm normalises the last dimension, with a learned scale and shift.
func (g *graph) layerNorm(x string, epsilon float64) string {
	width := g.width(x)
	gamma, beta := g.trainable("gamma", g.weights.filled(1, width)), g.trainable("beta", g.weights.filled(0, width))
	return g.apply("LayerNormalization", width, []string{x, gamma, beta},
		kernel.IntAttr("axis", -1), kernel.FloatAttr("epsilon", float32(epsilon)))
}

// finish names x, the output of the last node, the output of the kernel.
func (g *graph) finish(x string) {
	last := &g.nodes[len(g.nodes)-1]
	g.shape[seedOutput] = g.shape[x]
	last.output = seedOutput
}

// bytes writes the kernel.
func (g *graph) bytes(name string, metadata [][2]string) ([]byte, error) {
	b := kernel.NewBuilderFor(name, g.slot.Shape()...)
	for _, i := range g.inits {
		switch {
		case i.indices != nil:
			b.InitInts(i.name, i.indices...)
		case i.frozen:
			b.Frozen(i.name, i.tensor)
		default:
			b.Init(i.name, i.tensor)
		}
	}
	for _, n := range g.nodes {
		b.Node(n.op, n.inputs, n.output, n.attrs...)
	}
	for _, entry := range metadata {
		b.Metadata(entry[0], entry[1])
	}
	return b.Bytes()
}
