// Package metadata is the text that a row of the catalogue holds beside its columns, in
// the Python prototype's form: a descriptor as proto-JSON with the extras in one field
// beside it. Its functions are pure. Split and Encode read and write the text, Allow
// amends it, and Samples reads the pre-warm times in it. Package urza and its rooms
// call them around each access to a row.
package metadata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/esper-lite/weatherlight/leyline"
)

// extrasKey is where the text keeps what is not part of the descriptor.
const extrasKey = "_urza"

// Split parts the text into the descriptor and the extras, which are never nil.
func Split(text string) (*leyline.BlueprintDescriptor, map[string]any, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(Finite(text), &fields); err != nil {
		return nil, nil, fmt.Errorf("metadata: %w", err)
	}
	extras := map[string]any{}
	if raw, found := fields[extrasKey]; found {
		if err := json.Unmarshal(raw, &extras); err != nil {
			return nil, nil, fmt.Errorf("metadata %s: %w", extrasKey, err)
		}
		delete(fields, extrasKey)
	}
	if extras == nil { // the JSON was null
		extras = map[string]any{}
	}
	if fields == nil { // the JSON was null
		return nil, nil, fmt.Errorf("metadata: not an object")
	}
	rest, err := json.Marshal(fields)
	if err != nil {
		return nil, nil, err
	}
	descriptor, err := Descriptor(rest)
	return descriptor, extras, err
}

// Descriptor reads a descriptor's JSON, leaving out what is not part of one. An empty
// text is an empty descriptor.
func Descriptor(text []byte) (*leyline.BlueprintDescriptor, error) {
	descriptor := &leyline.BlueprintDescriptor{}
	if len(text) == 0 {
		return descriptor, nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, descriptor); err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	return descriptor, nil
}

// Encode is the inverse: proto-JSON with the original field names, default
// values left out, and the extras beside it.
func Encode(descriptor *leyline.BlueprintDescriptor, extras map[string]any) (string, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(descriptor)
	if err != nil {
		return "", fmt.Errorf("descriptor: %w", err)
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return "", fmt.Errorf("descriptor: %w", err)
	}
	if fields[extrasKey], err = compactJSON(finite(extras)); err != nil {
		return "", fmt.Errorf("extras: %w", err)
	}
	whole, err := compactJSON(fields)
	return string(whole), err
}

// compactJSON encodes without blanks and without HTML escapes, which a Python
// reader would understand but a person reading the table would not thank us for.
func compactJSON(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(buffer.Bytes()), nil
}

// keptSamples is how many pre-warm times a row remembers.
const keptSamples = 20

// Milliseconds reads a time, 0 when it is no usable one.
func Milliseconds(value any) float64 {
	if f, _ := value.(float64); usable(f) {
		return f
	}
	return 0
}

// usable is false for times that are none, and for those that a message would
// carry as an infinity.
func usable(ms float64) bool { return ms >= 0 && ms <= math.MaxFloat32 }

// Samples reads a list of times in milliseconds, leaving out what is no usable number,
// and keeps the last ones.
func Samples(value any) []float64 {
	var out []float64
	switch list := value.(type) {
	case []float64:
		out = slices.Clone(list)
	case []any:
		for _, v := range list {
			if f, ok := v.(float64); ok {
				out = append(out, f)
			}
		}
	}
	out = slices.DeleteFunc(out, func(f float64) bool { return !usable(f) })
	return out[max(0, len(out)-keptSamples):]
}

// StoredSamples are the pre-warm times in the text of a row. One that cannot be read has
// none: saving again is how such a row is healed.
func StoredSamples(text string) []float64 {
	// The graph of a kernel beside them may be large, and is not looked at.
	var kept struct {
		Extras struct {
			Samples []any `json:"prewarm_samples"`
		} `json:"_urza"`
	}
	if json.Unmarshal(Finite(text), &kept) != nil {
		return nil
	}
	return Samples(kept.Extras.Samples)
}
