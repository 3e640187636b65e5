package kernel

import (
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

// pageTable is the rows of a table of docs/trainers.md, cell by cell, without
// its head. It stands between two comments, of which the first begins with its name.
func pageTable(t *testing.T, name string) (rows [][]string) {
	t.Helper()
	page, err := os.ReadFile("../docs/trainers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "<!-- "+name+": ")
	table, _, ended := strings.Cut(rest, "<!-- end of "+name+" -->")
	if !found || !ended {
		t.Fatalf("docs/trainers.md has no table %q", name)
	}
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(cell)
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("the table %q of docs/trainers.md is empty", name)
	}
	return rows[2:]
}

func TestPageHasEveryOperator(t *testing.T) {
	var page, code [][]string
	for _, row := range pageTable(t, "kernel operators") {
		if len(row) != 6 {
			t.Fatalf("row %q has %d cells", row, len(row))
		}
		page = append(page, []string{row[0], row[2], row[3], row[4]})
	}
	for _, name := range Profile() {
		op := operators[name]
		code = append(code, []string{"`" + name + "`", inputsCell(op), outputsCell(op), attributesCell(op)})
	}
	if diff := cmp.Diff(code, page); diff != "" {
		t.Errorf("operators of the profile (-code +page):\n%s", diff)
	}
}

func inputsCell(op operator) string {
	if op.inputs.most == maxOperands {
		return many(op.inputs, op.takes(0))
	}
	var list []string
	for i := range op.inputs.most {
		letter := letterOf(op.takes(i))
		if i >= op.inputs.least {
			letter += "?"
		}
		list = append(list, letter)
	}
	return strings.Join(list, " ")
}

func outputsCell(op operator) string {
	if op.results().most == maxOperands {
		return many(op.results(), op.yields())
	}
	return strings.TrimSpace(strings.Repeat(letterOf(op.yields())+" ", op.results().most))
}

func many(count arity, of kind) string {
	return fmt.Sprintf("%d to %d %s", count.least, count.most, letterOf(of))
}

func letterOf(k kind) string { return map[kind]string{floats: "F", bools: "B", ints: "I"}[k] }

func attributesCell(op operator) string {
	types := map[int32]string{attrInt: "int", attrFloat: "float", attrInts: "ints"}
	var list []string
	for _, a := range op.attributes {
		list = append(list, fmt.Sprintf("`%s` %s", a.name, types[a.kind]))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func TestPageHasTheConstantsOfTheFile(t *testing.T) {
	want := map[string]any{
		"IR version": irVersion, "operator set": opsetVersion, "graph input": inputName, "graph output": outputName,
		"batch": batchSymbol, "element type of both": typeFloat, "producer": producerName,
	}
	rows := pageTable(t, "kernel file")
	for _, row := range rows {
		if value, known := want[row[0]]; !known || !strings.Contains(row[1], fmt.Sprintf("`%v`", value)) {
			t.Errorf("the page says of %q: %s; the code has %v", row[0], row[1], value)
		}
	}
	if len(rows) != len(want) {
		t.Errorf("%d rows on the page, want %d", len(rows), len(want))
	}
	keys := pageTable(t, "kernel metadata")
	if !slices.ContainsFunc(keys, func(row []string) bool { return row[0] == "`"+frozenKey+"`" }) {
		t.Errorf("the page does not have metadata key %q", frozenKey)
	}
}

// decodedOnly are fields that the decoder knows so that a file which uses one is
// refused with a reason that says so.
var decodedOnly = []string{
	"GraphProto.value_info", "AttributeProto.s", "AttributeProto.t", "AttributeProto.floats", "AttributeProto.strings",
	"TensorProto.float_data", "TensorProto.int64_data",
}

func TestPageHasEveryField(t *testing.T) {
	code := messageRows(onnxpb.File_weatherlight_onnx_v1_onnx_proto.Messages(), "")
	page := pageTable(t, "kernel fields")
	for _, rows := range [][][]string{code, page} {
		slices.SortFunc(rows, slices.Compare[[]string])
	}
	if diff := cmp.Diff(code, page); diff != "" {
		t.Errorf("fields of a file (-code +page):\n%s", diff)
	}
}

// messageRows are a row for each message, and for each message within one.
func messageRows(messages protoreflect.MessageDescriptors, outer string) (rows [][]string) {
	for i := range messages.Len() {
		message := messages.Get(i)
		name := outer + string(message.Name())
		var fields []string
		for j := range message.Fields().Len() {
			if field := string(message.Fields().Get(j).Name()); !slices.Contains(decodedOnly, name+"."+field) {
				fields = append(fields, "`"+field+"`")
			}
		}
		rows = append(rows, []string{"`" + name + "`", strings.Join(fields, ", ")})
		rows = append(rows, messageRows(message.Messages(), name+".")...)
	}
	return rows
}

func TestPageHasEveryBound(t *testing.T) {
	want := [][]string{
		{"bytes of a file", powerOfTwo(MaxFileBytes)},
		{"bytes besides the initializers' data", powerOfTwo(maxStructureBytes)},
		{"protobuf fields, nested ones included", powerOfTwo(maxFields)},
		{"nodes", powerOfTwo(MaxNodes)},
		{"initializers", powerOfTwo(maxInitializers)},
		{"inputs, and outputs, of a node", powerOfTwo(maxOperands)},
		{"metadata entries", powerOfTwo(maxMetadata)},
		{"bytes of a metadata value or another text", powerOfTwo(maxTextBytes)},
		{"bytes of a name", powerOfTwo(maxNameBytes)},
		{"dimensions of a value", powerOfTwo(maxRank)},
		{"dimensions of `host` and `seed`, batch included", fmt.Sprintf("%d to %d", minSlotRank, maxSlotRank)},
		{"size of a dimension", "1 to " + powerOfTwo(maxDim)},
		{"numbers in a list of shapes, axes, sizes or pads", powerOfTwo(maxConstantInts)},
		{"elements of all values of a pass, each example", powerOfTwo(maxRowElements)},
		{"multiply-adds of a pass, each example", powerOfTwo(maxRowMultiplyAdds)},
		{"elements that pooling windows visit in a pass, each example", powerOfTwo(maxRowMultiplyAdds)},
		{"elements of all values of a pass, whole batch", powerOfTwo(maxBatchElements)},
	}
	if diff := cmp.Diff(want, pageTable(t, "kernel bounds")); diff != "" {
		t.Errorf("bounds (-code +page):\n%s", diff)
	}
}

// powerOfTwo writes a power of two as one where its digits would not be read.
func powerOfTwo(n int) string {
	if n > 4096 && bits.OnesCount(uint(n)) == 1 {
		return fmt.Sprintf("2^%d", bits.TrailingZeros(uint(n)))
	}
	return fmt.Sprint(n)
}
