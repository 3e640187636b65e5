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
	s := &slot{name: t.Name, shape: shape}
	switch t.DataType {
	case typeFloat:
		return s, s.readFloats(t.RawData, sizeOf(shape))
	case typeInt64:
		return s, s.readInts(t.RawData, sizeOf(shape))
	case typeBool:
		return s, s.readBools(t.RawData, sizeOf(shape))
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

func (s *slot) readFloats(raw []byte, count int) error {
	if len(raw) != 4*count {
		return refuse("initialiser %q: %d bytes for %d float32", s.name, len(raw), count)
	}
	data := make([]float32, count)
	for i := range data {
		bits := binary.LittleEndian.Uint32(raw[4*i : 4*i+4])
		if bits&0x7f800000 == 0x7f800000 { // an exponent of ones: infinity or NaN
			return refuse("initialiser %q: element %d is not finite", s.name, i)
		}
		data[i] = math.Float32frombits(bits)
	}
	s.value = &Tensor{Shape: s.shape, Data: data}
	return nil
}

func (s *slot) readInts(raw []byte, count int) error {
	if len(raw) != 8*count {
		return refuse("initialiser %q: %d bytes for %d int64", s.name, len(raw), count)
	}
	s.kind, s.ints = ints, make([]int, count)
	for i := range s.ints {
		s.ints[i] = int(int64(binary.LittleEndian.Uint64(raw[8*i:])))
	}
	return nil
}

// readBools keeps truth values as the tape does, 1 and 0.
func (s *slot) readBools(raw []byte, count int) error {
	if len(raw) != count {
		return refuse("initialiser %q: %d bytes for %d bool", s.name, len(raw), count)
	}
	s.kind, s.value = bools, NewTensor(s.shape...)
	for i, v := range raw {
		if v > 1 {
			return refuse("initialiser %q: element %d is %d, neither true nor false", s.name, i, v)
		}
		s.value.Data[i] = float32(v)
	}
	return nil
}
