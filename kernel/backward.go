package kernel

import "fmt"

// Backward computes the gradient of loss, a single element, by every recorded
// value that has storage for one, and adds it to the gradients of parameters.
// The gradients of other values are replaced. A loss that nothing trainable
// reaches leaves every gradient zero.
func (t *Tape) Backward(loss Value) error {
	last, err := t.node(loss)
	if err != nil {
		return fmt.Errorf("backward: %w", err)
	}
	if len(last.value.Data) != 1 {
		return shapeError("backward", "loss is %v, want one element", last.value.Shape)
	}
	t.clearGradients()
	if !last.hasGrad {
		return nil
	}
	last.grad.Data[0]++
	last.reached = true
	for i := loss.index; i >= 0; i-- {
		t.nodes[i].propagate()
	}
	return nil
}

func (t *Tape) clearGradients() {
	for _, n := range t.nodes[:t.used] {
		n.reached = false
		if n.hasGrad && !n.leaf {
			clear(n.grad.Data)
		}
	}
}

func (n *node) propagate() {
	if !n.reached || n.back == nil || !n.hasGrad {
		return
	}
	for _, src := range n.in {
		src.reached = src.hasGrad
	}
	n.back(n)
}
