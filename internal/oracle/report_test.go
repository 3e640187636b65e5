//go:build oracle

package oracle

import (
	"fmt"
	"strings"
)

// table writes the comparisons for people, and the last line for scripts.
func table(operators, kernels, timed []*comparison) string {
	var b strings.Builder
	b.WriteString("# Kernels beside ONNX Runtime\n\n" +
		"Written by `make oracle`: the same ONNX file and the same random batch through our engine and through\n" +
		"ONNX Runtime 1.30.0. The difference is the largest of any element of the output, relative to the largest\n" +
		"element of the runtime's output or to 1. At most 1e-5 is allowed. Of kernels that were trained and saved,\n" +
		"and of grown networks, the runtime runs what `graft.Save` and `graft.Export` wrote, and ours is the seed or\n" +
		"the network that goes on in the trainer.\n")

	b.WriteString("\n## Blueprints and grown networks\n\n| kernel | slot | nodes | operators | max difference |\n| --- | --- | ---: | --- | ---: |\n")
	for _, c := range kernels {
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s |\n", c.title, c.slot, c.kernel.Nodes(),
			strings.Join(c.kernel.Operators(), ", "), c.verdict())
	}
	b.WriteString("\n## Operators\n\nEach followed by a product with a random matrix.\n\n" +
		"| operator | slot | max difference |\n| --- | --- | ---: |\n")
	for _, c := range operators {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.title, c.slot, c.verdict())
	}
	b.WriteString("\n## Time of one forward pass\n\n" +
		"Medians of one run on one machine, the runtime called from Node.\n\n" +
		"| kernel | ours, ms | runtime, ms | ratio |\n| --- | ---: | ---: | ---: |\n")
	for _, c := range timed {
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %.1f |\n", c.title, c.oursMs, c.theirsMs, c.oursMs/c.theirsMs)
	}
	b.WriteString("\n" + summary(operators, kernels, timed) + "\n")
	return b.String()
}

func (c *comparison) verdict() string {
	if c.failure != "" {
		return "FAILED: " + c.failure
	}
	return fmt.Sprintf("%.1e", c.difference)
}

func summary(operators, kernels, timed []*comparison) string {
	largest, failed := 0.0, 0
	for _, list := range [][]*comparison{operators, kernels, timed} {
		for _, c := range list {
			largest = max(largest, c.difference)
			if c.failure != "" {
				failed++
			}
		}
	}
	return fmt.Sprintf("RESULT oracle kernels=%d operators=%d max_diff=%.1e failed=%d",
		len(kernels), len(operators), largest, failed)
}
