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
