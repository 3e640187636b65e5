package urza

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/esper-lite/weatherlight/leyline"
)

// extrasKey is where metadata_json keeps what is not part of the descriptor.
const extrasKey = "_urza"

// row is one line of the catalogue as the database holds it. Two equal rows decode
// to equal records, so comparing rows is how memory is revalidated.
type row struct {
	id, name, tier, path, metadata string
	variant                        string // which of the blueprint's kernels; empty is its own
	quarantined                    bool   // its file was damaged
	approved                       string // the checksum that an operator approved
	setAside                       string // when an operator set it aside; empty is not
}

// decode turns a row into a record. The columns win over the JSON.
func (r row) decode() (*Record, error) {
	if r.id == "" || !storable(r.id) || !storable(r.path) {
		return nil, &RowError{strings.ToValidUTF8(r.id, "?"), "id or path is not text that a message can carry"}
	}
	tier, known := leyline.BlueprintTier_value[r.tier]
	if !known {
		return nil, &RowError{r.id, fmt.Sprintf("tier %q is no tier name", r.tier)}
	}
	metadata, extras, err := splitMetadata(r.metadata)
	if err != nil {
		return nil, &RowError{r.id, err.Error()}
	}
	descriptor := &leyline.BlueprintDescriptor{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(metadata, descriptor); err != nil {
		return nil, &RowError{r.id, fmt.Sprintf("descriptor: %v", err)}
	}
	descriptor.BlueprintId = r.id
	descriptor.Tier = leyline.BlueprintTier(tier)
	if descriptor.Name == "" {
		descriptor.Name = strings.ToValidUTF8(r.name, "?")
	}
	ref, err := absoluteRef(r.path)
	if err != nil {
		return nil, &RowError{r.id, fmt.Sprintf("artifact path %q", r.path)}
	}
	record := newRecord(descriptor, ref, extras)
	record.Approved = r.approved != "" && r.approved == record.Checksum
	record.SetAside = r.setAside != ""
	record.Variant = r.variant
	return record, nil
}

// absoluteRef is a row's artifact path made absolute, or its URL as it is.
func absoluteRef(path string) (string, error) {
	if path == "" {
		return "", errors.New("empty")
	}
	if isObject(path) {
		return path, nil
	}
	return filepath.Abs(path)
}

// splitMetadata parts metadata_json into the descriptor's JSON and the extras.
func splitMetadata(text string) ([]byte, map[string]any, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(finiteJSON(text), &fields); err != nil {
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
	descriptor, err := json.Marshal(fields)
	return descriptor, extras, err
}

// encodeMetadata is the inverse: proto-JSON with the original field names, default
// values left out, and the extras beside it.
func encodeMetadata(descriptor *leyline.BlueprintDescriptor, extras map[string]any) (string, error) {
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
