package tezzeret

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

// graphMetadata describes the built network for the controller's graph: the
// prototype's keys, filled from the real nodes. Every value is finite, so that
// it can be written as JSON.
func (g *graph) graphMetadata(d *leyline.BlueprintDescriptor, prewarmMs float64) map[string]any {
	id := d.GetBlueprintId()
	layers := make([]map[string]any, len(g.nodes))
	activations := make([]map[string]any, len(g.nodes))
	for i, n := range g.nodes {
		kind := strings.ToLower(n.op)
		count, norm := g.weigh(n)
		layers[i] = map[string]any{
			"layer_id":        fmt.Sprintf("%s-L%d", id, i),
			"type":            kind,
			"depth":           i,
			"input_channels":  g.width(n.inputs[0]),
			"output_channels": g.width(n.output),
			"parameter_count": count,
			"latency_ms":      prewarmMs / float64(len(g.nodes)),
			"gradient_norm":   0.0,
			"weight_norm":     norm,
			"activation":      kind,
		}
		activations[i] = map[string]any{
			"activation_id":         fmt.Sprintf("%s-A%d", id, i),
			"type":                  kind,
			"saturation_rate":       0.0,
			"gradient_flow":         1.0,
			"computational_cost":    count,
			"nonlinearity_strength": nonlinearity(n.op),
		}
	}
	return map[string]any{
		"layers":       layers,
		"activations":  activations,
		"parameters":   parameterMetadata(d),
		"adjacency":    map[string]any{"layer": g.edges()},
		"capabilities": map[string]any{},
		"source":       "tezzeret",
	}
}

func parameterMetadata(d *leyline.BlueprintDescriptor) []map[string]any {
	middle := Midpoints(d)
	list := make([]map[string]any, 0, len(middle))
	for _, name := range slices.Sorted(maps.Keys(middle)) {
		bounds := d.GetAllowedParameters()[name]
		list = append(list, map[string]any{
			"name":    name,
			"min":     bounds.GetMinValue(),
			"max":     bounds.GetMaxValue(),
			"default": middle[name],
			"span":    bounds.GetMaxValue() - bounds.GetMinValue(),
		})
	}
	return list
}

// weigh returns the number of trainable elements a node reads and their norm.
func (g *graph) weigh(n node) (int, float64) {
	count, squares := 0, 0.0
	for _, i := range g.inits {
		if i.frozen || !slices.Contains(n.inputs, i.name) {
			continue
		}
		count += len(i.tensor.Data)
		for _, v := range i.tensor.Data {
			squares += float64(v) * float64(v)
		}
	}
	return count, math.Sqrt(squares)
}

// edges lists [from, to] for every node that reads another node's output.
func (g *graph) edges() [][2]int {
	producer := make(map[string]int, len(g.nodes))
	edges := [][2]int{}
	for i, n := range g.nodes {
		for _, input := range n.inputs {
			if from, ok := producer[input]; ok {
				edges = append(edges, [2]int{from, i})
			}
		}
		producer[n.output] = i
	}
	return edges
}

// nonlinearity is 1 for an operator that bends its input, 0 for one that is
// linear in it.
func nonlinearity(op string) float64 {
	switch op {
	case "Relu", "Sigmoid", "Tanh", "Erf", "Softmax", "LayerNormalization":
		return 1
	default:
		return 0
	}
}
