package kernel

import (
	"cmp"
	"slices"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

func (l *loader) addNodes(nodes []*onnxpb.NodeProto) error {
	if len(nodes) == 0 || len(nodes) > MaxNodes {
		return refuse("%d nodes, allowed are 1 to %d", len(nodes), MaxNodes)
	}
	seen := make(map[string]bool) // only ever looked up by name
	for i, n := range nodes {
		if n.Name != "" && seen[n.Name] {
			return refuse("node %q twice", n.Name)
		}
		seen[n.Name] = true
		if err := l.addNode(n); err != nil {
			return refuse("node %d (%.40q): %s", i, n.OpType, reasonOf(err))
		}
	}
	return nil
}

func (l *loader) addNode(n *onnxpb.NodeProto) error {
	op, ok := operators[n.OpType]
	if !ok || n.Domain != "" {
		return refuse("operator %.40q of domain %.40q is not in the profile", n.OpType, n.Domain)
	}
	if err := checkNodeText(n); err != nil {
		return err
	}
	if !op.inputs.holds(len(n.Input)) || !op.results().holds(len(n.Output)) {
		return refuse("%d inputs and %d outputs", len(n.Input), len(n.Output))
	}
	attributes, err := readAttributes(op, n.Attribute)
	if err != nil {
		return err
	}
	b := &binding{attributes: attributes, out: make([][]int, len(n.Output))}
	s := step{op: n.OpType}
	for i, name := range n.Input {
		index, err := l.use(b, op, i, name)
		if err != nil {
			return err
		}
		s.in = append(s.in, index)
	}
	s.apply, err = op.bind(b)
	if err = cmp.Or(b.err, err); err != nil {
		return err
	}
	for i, name := range n.Output {
		index, err := l.define(&slot{name: name, shape: b.out[i], kind: op.yields()})
		if err != nil {
			return err
		}
		s.out = append(s.out, index)
	}
	l.kernel.steps = append(l.kernel.steps, s)
	return l.charge(op, b)
}

func checkNodeText(n *onnxpb.NodeProto) error {
	if n.Name != "" {
		if err := checkName("node", n.Name); err != nil {
			return err
		}
	}
	if len(n.DocString) > maxTextBytes {
		return refuse("a text of %d bytes", len(n.DocString))
	}
	return nil
}

// use resolves an input, which something before must have defined: that alone
// rules out cycles.
func (l *loader) use(b *binding, op operator, i int, name string) (int, error) {
	if name == "" && i >= cmp.Or(op.required, op.inputs.least) {
		b.in = append(b.in, nil)
		return absent, nil
	}
	index, ok := l.names[name]
	if !ok {
		return 0, refuse("input %.140q is not defined before it is used", name)
	}
	s := l.slots[index]
	if s.kind != op.takes(i) {
		return 0, refuse("input %q has the wrong element type", name)
	}
	s.used = true
	b.in = append(b.in, s)
	if s.kind != ints {
		return index, nil
	}
	if !op.indices && (len(s.shape) > 1 || len(s.ints) > maxConstantInts) {
		return 0, refuse("input %q is %v, a list of at most %d is allowed", name, s.shape, maxConstantInts)
	}
	return absent, nil
}

// takes is the kind of input i.
func (op *operator) takes(i int) kind {
	switch {
	case slices.Contains(op.ints, i):
		return ints
	case slices.Contains(op.bools, i):
		return bools
	}
	return floats
}

// results is how many outputs there may be.
func (op *operator) results() arity { return cmp.Or(op.outputs, one) }

// yields is the kind of the outputs.
func (op *operator) yields() kind {
	if op.truth {
		return bools
	}
	return floats
}

// What a node takes of time, in multiply-adds of a product of matrices: measured, and rounded up.
const (
	nodeWork    = 512 // whatever it does
	elementWork = 16  // an element that is read or written
	dearWork    = 128 // one that takes a function
)

// work is what a node takes for one row. Of what multiplies matrices the operands count as
// multiply-adds.
func (b *binding) work(op operator) int64 {
	touched, element := b.scratch+b.visits, int64(elementWork)
	if op.dear {
		element = dearWork
	}
	for _, shape := range b.out {
		size, _ := rowSize(shape)
		touched += size
	}
	for _, in := range b.in {
		if in != nil && b.cost == 0 {
			size, _ := rowSize(in.shape)
			touched += size
		}
	}
	return nodeWork + b.cost + element*touched
}

// charge adds what the node costs to the kernel and holds it to the bounds.
func (l *loader) charge(op operator, b *binding) error {
	for _, shape := range b.out {
		size, _ := rowSize(shape)
		l.kernel.rowElements += size
	}
	if b.scratch > maxRowElements {
		return refuse("one row takes columns of more than %d elements", maxRowElements)
	}
	if l.kernel.rowElements += b.scratch; l.kernel.rowElements > maxRowElements {
		return refuse("the values of one row pass %d elements", maxRowElements)
	}
	if b.visits > maxRowMultiplyAdds-l.visits {
		return refuse("one row takes more than %d visits of pooling windows", maxRowMultiplyAdds)
	}
	l.visits += b.visits
	if b.cost > maxRowMultiplyAdds-l.kernel.multiplyAdds {
		return refuse("one row takes more than %d multiply-adds", maxRowMultiplyAdds)
	}
	l.kernel.multiplyAdds += b.cost
	l.kernel.work += b.work(op)
	return nil
}

// readAttributes checks every attribute against the operator's list.
func readAttributes(op operator, list []*onnxpb.AttributeProto) ([]*onnxpb.AttributeProto, error) {
	for i, a := range list {
		at := slices.IndexFunc(op.attributes, func(s attribute) bool { return s.name == a.Name })
		if at < 0 {
			return nil, refuse("attribute %.40q is not in the profile", a.Name)
		}
		if slices.ContainsFunc(list[:i], func(b *onnxpb.AttributeProto) bool { return b.Name == a.Name }) {
			return nil, refuse("attribute %q twice", a.Name)
		}
		if !holdsOnly(a, op.attributes[at].kind) {
			return nil, refuse("attribute %q has the wrong type", a.Name)
		}
	}
	return list, nil
}

// holdsOnly reports whether an attribute is of one type and carries nothing of
// another: no tensor, no string, no second value.
func holdsOnly(a *onnxpb.AttributeProto, kind int32) bool {
	switch {
	case a.Type != kind,
		a.T != nil, len(a.S) > 0, len(a.Floats) > 0, len(a.Strings) > 0, len(a.DocString) > maxTextBytes,
		kind != attrInt && a.I != 0,
		kind != attrFloat && a.F != 0,
		kind != attrInts && len(a.Ints) > 0,
		len(a.Ints) > maxConstantInts:
		return false
	}
	return true
}
