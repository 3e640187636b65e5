package kernel

import (
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

// Load reads an ONNX file strictly into a template. Nothing in the file can
// name another file, and every refusal is ErrProfile with a *ProfileError that
// gives the reason. The caller has checked the checksum and, where it has one,
// the signature.
func Load(onnx []byte) (*Kernel, error) {
	model, err := decode(onnx)
	if err != nil {
		return nil, err
	}
	l := &loader{kernel: &Kernel{}, names: make(map[string]int)}
	sum := make(chan string, 1)
	go func() { sum <- Checksum(onnx) }() // as much work as the rest, for another core
	err = l.load(model)
	l.kernel.checksum = <-sum
	if err != nil {
		return nil, err
	}
	l.kernel.model = stripped(model)
	return l.kernel, nil
}

// loader checks a model part by part and collects the kernel.
type loader struct {
	kernel *Kernel
	slots  []*slot
	names  map[string]int // only ever looked up by name
	visits int64          // elements that pooling windows visit for one row
}

// slot is one named value of the graph.
type slot struct {
	name   string
	shape  []int
	kind   kind
	value  *Tensor // a float or bool initialiser
	ints   []int   // an int64 initialiser
	frozen bool
	used   bool

	statistic bool // a running statistic, which training moves
}

// kind is the element type of a slot.
type kind int

const (
	floats kind = iota
	ints
	bools
)

func (l *loader) load(model *onnxpb.ModelProto) error {
	if err := checkHeader(model); err != nil {
		return err
	}
	if err := l.addMetadata(model.MetadataProps); err != nil {
		return err
	}
	graph := model.Graph
	if err := l.addInterface(graph); err != nil {
		return err
	}
	if err := l.addInitializers(graph.Initializer); err != nil {
		return err
	}
	if err := l.freeze(); err != nil {
		return err
	}
	if err := l.addNodes(graph.Node); err != nil {
		return err
	}
	return l.finish()
}

func checkHeader(model *onnxpb.ModelProto) error {
	if model.IrVersion != irVersion {
		return refuse("IR version %d, the profile has %d", model.IrVersion, irVersion)
	}
	if len(model.OpsetImport) != 1 || model.OpsetImport[0].Domain != "" {
		return refuse("operator sets other than the default one")
	}
	if v := model.OpsetImport[0].Version; v != opsetVersion {
		return refuse("operator set %d, the profile has %d", v, opsetVersion)
	}
	if model.Graph == nil {
		return refuse("no graph")
	}
	for _, text := range []string{
		model.ProducerName, model.ProducerVersion, model.Domain, model.DocString, model.Graph.DocString,
	} {
		if len(text) > maxTextBytes {
			return refuse("a text of %d bytes", len(text))
		}
	}
	return checkName("graph", model.Graph.Name)
}

func (l *loader) addMetadata(entries []*onnxpb.StringStringEntryProto) error {
	if len(entries) > maxMetadata {
		return refuse("%d metadata entries, at most %d are allowed", len(entries), maxMetadata)
	}
	for _, e := range entries {
		if err := checkName("metadata", e.Key); err != nil {
			return err
		}
		if _, twice := l.kernel.Metadata(e.Key); twice {
			return refuse("metadata %q twice", e.Key)
		}
		if len(e.Value) > maxTextBytes {
			return refuse("metadata %q has %d bytes, at most %d are allowed", e.Key, len(e.Value), maxTextBytes)
		}
		l.kernel.metadata = append(l.kernel.metadata, metadataEntry{e.Key, e.Value})
	}
	return nil
}

func (l *loader) addInterface(graph *onnxpb.GraphProto) error {
	if len(graph.Input) != 1 || len(graph.Output) != 1 {
		return refuse("%d inputs and %d outputs, a kernel has one of each", len(graph.Input), len(graph.Output))
	}
	if len(graph.ValueInfo) > 0 {
		return refuse("declared shapes of inner values; they are inferred")
	}
	var err error
	if l.kernel.input, err = readSpec(graph.Input[0], inputName); err != nil {
		return err
	}
	if l.kernel.output, err = readSpec(graph.Output[0], outputName); err != nil {
		return err
	}
	l.kernel.name = graph.Name
	_, err = l.define(&slot{name: inputName, shape: l.kernel.input.Shape})
	return err
}

// readSpec reads a graph input or output: float32, batch first, the rest fixed.
func readSpec(info *onnxpb.ValueInfoProto, name string) (Spec, error) {
	if info.Name != name {
		return Spec{}, refuse("graph value %q where the profile has %q", info.Name, name)
	}
	tensor := info.GetType().GetTensorType()
	if tensor == nil || tensor.ElemType != typeFloat || tensor.Shape == nil {
		return Spec{}, refuse("%q is not a float32 tensor with a shape", name)
	}
	spec := Spec{Name: name}
	for _, d := range tensor.Shape.Dim {
		size := int64(batch)
		if d.GetDimParam() == "" {
			if size = d.GetDimValue(); size < 1 || size > maxDim {
				return Spec{}, refuse("%q has a dimension of %d, allowed are 1 to %d", name, size, maxDim)
			}
		}
		spec.Shape = append(spec.Shape, int(size))
	}
	if len(spec.Shape) < minSlotRank || len(spec.Shape) > maxSlotRank || spec.Shape[0] != batch {
		return Spec{}, refuse("%q is %v, its first of two to four dimensions must be the free batch", name, spec.Shape)
	}
	return spec, checkShape(name, spec.Shape)
}

// define gives a value the next slot under a name that is free.
func (l *loader) define(s *slot) (int, error) {
	if err := checkName("value", s.name); err != nil {
		return 0, err
	}
	if _, taken := l.names[s.name]; taken {
		return 0, refuse("%q is defined twice", s.name)
	}
	if err := checkShape("value "+s.name, s.shape); err != nil {
		return 0, err
	}
	index := len(l.slots)
	l.names[s.name] = index
	l.slots = append(l.slots, s)
	return index, nil
}

// freeze marks the initialisers that the metadata keeps from training.
func (l *loader) freeze() error {
	list, ok := l.kernel.Metadata(frozenKey)
	if !ok || list == "" {
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		index, ok := l.names[name]
		if !ok || l.slots[index].value == nil || l.slots[index].kind != floats || l.slots[index].frozen {
			return refuse("frozen name %q is no float initialiser, or is there twice", name)
		}
		l.slots[index].frozen = true
	}
	return nil
}

// finish checks the graph as a whole: everything is used, and the output is
// what it was declared to be.
func (l *loader) finish() error {
	index, ok := l.names[outputName]
	if !ok {
		return refuse("nothing computes the output %q", outputName)
	}
	result := l.slots[index]
	if result.value != nil || result.kind != floats || !slices.Equal(result.shape, l.kernel.output.Shape) {
		return refuse("the output is %v, declared is %v", result.shape, l.kernel.output.Shape)
	}
	result.used = true
	if err := l.refuseUnused(); err != nil {
		return err
	}
	for i, s := range l.slots {
		if s.value != nil {
			frozen := s.frozen || s.kind == bools
			init := initializer{name: s.name, slot: i, value: s.value, frozen: frozen, statistic: s.statistic}
			l.kernel.initializers = append(l.kernel.initializers, init)
		}
	}
	l.kernel.slots, l.kernel.result = len(l.slots), index
	return nil
}

func (l *loader) refuseUnused() error {
	for _, s := range l.slots[1:] {
		if (s.value != nil || s.kind == ints) && !s.used {
			return refuse("initialiser %q is not used", s.name)
		}
	}
	for i, s := range l.kernel.steps {
		used := slices.ContainsFunc(s.out, func(slot int) bool { return l.slots[slot].used })
		if !used {
			return refuse("nothing uses node %d (%s)", i, s.op)
		}
	}
	return nil
}
