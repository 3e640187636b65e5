package kernel

import (
	"encoding/binary"
	"math"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

func (l *loader) addInitializers(tensors []*onnxpb.TensorProto) error {
	if len(tensors) > maxInitializers {
		return refuse("%d initialisers, at most %d are allowed", len(tensors), maxInitializers)
	}
	for _, t := range tensors {
		s, err := readInitializer(t)
		if err != nil {
			return err
		}
		if _, err := l.define(s); err != nil {
			return err
		}
	}
	return nil
}

// readInitializer checks the shape before it looks at the data, so that the
// memory taken never passes what the file itself holds.
func readInitializer(t *onnxpb.TensorProto) (*slot, error) {
	if err := checkName("initialiser", t.Name); err != nil {
		return nil, err
	}
	if len(t.FloatData) > 0 || len(t.Int64Data) > 0 {
		return nil, refuse("initialiser %q: only raw data is in the profile", t.Name)
	}
	if len(t.DocString) > maxTextBytes {
		return nil, refuse("initialiser %q: a text of %d bytes", t.Name, len(t.DocString))
	}
	shape, err := readDims(t)
	if err != nil {
		return nil, err
	}
	switch t.DataType {
	case typeFloat:
		return readFloats(t, shape)
	case typeInt64:
		return readInts(t, shape)
	case typeBool:
		return readBools(t, shape)
	}
	return nil, refuse("initialiser %q: element type %d; float32, int64 and bool are in the profile", t.Name, t.DataType)
}

func readDims(t *onnxpb.TensorProto) ([]int, error) {
	if len(t.Dims) > maxRank {
		return nil, refuse("initialiser %q has %d dimensions, at most %d are allowed", t.Name, len(t.Dims), maxRank)
	}
	shape := make([]int, len(t.Dims))
	for i, d := range t.Dims {
		if d < 1 || d > maxDim {
			return nil, refuse("initialiser %q has a dimension of %d, allowed are 1 to %d", t.Name, d, maxDim)
		}
		shape[i] = int(d)
	}
	return shape, checkShape("initialiser "+t.Name, shape)
}

func readFloats(t *onnxpb.TensorProto, shape []int) (*slot, error) {
	count := sizeOf(shape)
	if len(t.RawData) != 4*count {
		return nil, refuse("initialiser %q: %d bytes for %d float32", t.Name, len(t.RawData), count)
	}
	data, raw := make([]float32, count), t.RawData
	for i := range data {
		bits := binary.LittleEndian.Uint32(raw[4*i : 4*i+4])
		if bits&0x7f800000 == 0x7f800000 { // an exponent of ones: infinity or NaN
			return nil, refuse("initialiser %q: element %d is not finite", t.Name, i)
		}
		data[i] = math.Float32frombits(bits)
	}
	return &slot{name: t.Name, shape: shape, value: &Tensor{Shape: shape, Data: data}}, nil
}

func readInts(t *onnxpb.TensorProto, shape []int) (*slot, error) {
	count := sizeOf(shape)
	if len(t.RawData) != 8*count {
		return nil, refuse("initialiser %q: %d bytes for %d int64", t.Name, len(t.RawData), count)
	}
	list := make([]int, count)
	for i := range list {
		list[i] = int(int64(binary.LittleEndian.Uint64(t.RawData[8*i:])))
	}
	return &slot{name: t.Name, shape: shape, kind: ints, ints: list}, nil
}

// readBools keeps truth values as the tape does, 1 and 0.
func readBools(t *onnxpb.TensorProto, shape []int) (*slot, error) {
	count := sizeOf(shape)
	if len(t.RawData) != count {
		return nil, refuse("initialiser %q: %d bytes for %d bool", t.Name, len(t.RawData), count)
	}
	data := make([]float32, count)
	for i, v := range t.RawData {
		if v > 1 {
			return nil, refuse("initialiser %q: element %d is %d, neither true nor false", t.Name, i, v)
		}
		data[i] = float32(v)
	}
	return &slot{name: t.Name, shape: shape, kind: bools, value: &Tensor{Shape: shape, Data: data}}, nil
}
