package tezzeret

import (
	"math"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/kernel"
)

// The names of a kernel's input and output.
const (
	hostInput  = "host"
	seedOutput = "seed"
)

// graph composes one kernel over values of shape [N, width]. It records nodes
// and initialisers in the order of their making, which is also the order of
// the file, and remembers enough to describe the layers afterwards.
type graph struct {
	features int
	params   map[string]float64
	weights  *weights

	nodes []node
	inits []initialiser
	width map[string]int
}

// node is one operator with one output.
type node struct {
	op     string
	inputs []string
	output string
	attrs  []kernel.Attr
}

// initialiser is a named constant; a frozen one is not trained.
type initialiser struct {
	name   string
	tensor *kernel.Tensor
	frozen bool
}

func newGraph(features int, params map[string]float64, w *weights) *graph {
	return &graph{features: features, params: params, weights: w, width: map[string]int{hostInput: features}}
}

// apply adds a node whose output is width wide and returns the output's name.
func (g *graph) apply(op string, width int, inputs []string, attrs ...kernel.Attr) string {
	output := strings.ToLower(op) + "_" + strconv.Itoa(len(g.nodes))
	g.nodes = append(g.nodes, node{op: op, inputs: inputs, output: output, attrs: attrs})
	g.width[output] = width
	return output
}

// unary applies an operator that keeps the width of x.
func (g *graph) unary(op, x string, attrs ...kernel.Attr) string {
	return g.apply(op, g.width[x], []string{x}, attrs...)
}

// binary applies an operator to a and b, where b is as wide as a or broadcast.
func (g *graph) binary(op, a, b string) string {
	return g.apply(op, g.width[a], []string{a, b})
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

// scalar adds a constant that broadcasts over everything.
func (g *graph) scalar(value float64) string {
	return g.frozen("scalar", filled(value, 1))
}

// linear is x·w + b with w of shape [in, out] and the bias filled with bias.
func (g *graph) linear(x string, w *kernel.Tensor, bias float64) string {
	out := w.Shape[1]
	inputs := []string{x, g.trainable("weight", w), g.trainable("bias", filled(bias, out))}
	return g.apply("Gemm", out, inputs)
}

// concat joins values along the features.
func (g *graph) concat(values ...string) string {
	width := 0
	for _, v := range values {
		width += g.width[v]
	}
	return g.apply("Concat", width, values, kernel.IntAttr("axis", 1))
}

// softmax normalises along the features.
func (g *graph) softmax(x string) string { return g.unary("Softmax", x, kernel.IntAttr("axis", 1)) }

// silu is x·σ(x) (Ramachandran et al. 2017, "Searching for activation functions").
func (g *graph) silu(x string) string { return g.binary("Mul", x, g.unary("Sigmoid", x)) }

// gelu is x·Φ(x) in its exact form, 0.5·x·(1 + erf(x/√2)).
func (g *graph) gelu(x string) string {
	cumulative := g.unary("Erf", g.binary("Mul", x, g.scalar(math.Sqrt2/2)))
	return g.binary("Mul", g.binary("Mul", x, g.scalar(0.5)), g.binary("Add", cumulative, g.scalar(1)))
}

// finish names x, the output of the last node, the output of the kernel.
func (g *graph) finish(x string) {
	last := &g.nodes[len(g.nodes)-1]
	g.width[seedOutput] = g.width[x]
	last.output = seedOutput
}

// bytes writes the kernel.
func (g *graph) bytes(name string, metadata [][2]string) ([]byte, error) {
	b := kernel.NewBuilder(name, g.features)
	for _, i := range g.inits {
		if i.frozen {
			b.Frozen(i.name, i.tensor)
		} else {
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
