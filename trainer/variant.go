package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Attributes of a kernel request and of its answer, in their envelopes. A
// request without them gets the kernel of the library's own slot.
const (
	AttributeSlot       = "slot"       // shape of one example, a JSON list
	AttributeParameters = "parameters" // of the blueprint, a JSON object of numbers
	AttributeFormat     = "format"     // of the artifact: "onnx", or "pt" for one of the prototype
)

// FormatONNX is the format of the kernels that we make and that a graft takes.
const FormatONNX = "onnx"

const maxParameters = 64

// Variant is which kernel of a blueprint is wanted. The zero value is the one
// of the library's own slot with the parameters that the forge chooses.
type Variant struct {
	Slot       []int              // shape of one example; nil: the library's own slot
	Parameters map[string]float64 // nil: the middle of each declared interval
}

// ReadVariant reads a request's attributes. Its errors are *FieldError.
func ReadVariant(attributes map[string]string) (Variant, error) {
	var variant Variant
	if text := attributes[AttributeSlot]; text != "" {
		if err := json.Unmarshal([]byte(text), &variant.Slot); err != nil {
			return Variant{}, &FieldError{AttributeSlot, err}
		}
		if err := CheckShape(variant.Slot); err != nil {
			return Variant{}, &FieldError{AttributeSlot, err}
		}
	}
	if text := attributes[AttributeParameters]; text != "" {
		if err := json.Unmarshal([]byte(text), &variant.Parameters); err != nil {
			return Variant{}, &FieldError{AttributeParameters, err}
		}
		if len(variant.Parameters) > maxParameters {
			return Variant{}, &FieldError{AttributeParameters, fmt.Errorf("more than %d", maxParameters)}
		}
	}
	for name, value := range variant.Parameters {
		if err := checkID(name); err != nil {
			return Variant{}, &FieldError{AttributeParameters, err}
		}
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return Variant{}, &FieldError{AttributeParameters, errors.New("not finite")}
		}
	}
	return variant, nil
}

// Attributes are those of a request for the variant, nil for the zero value.
func (v Variant) Attributes() map[string]string {
	attributes := make(map[string]string, 2)
	if len(v.Slot) > 0 {
		attributes[AttributeSlot] = marshal(v.Slot)
	}
	if len(v.Parameters) > 0 {
		attributes[AttributeParameters] = marshal(v.Parameters)
	}
	if len(attributes) == 0 {
		return nil
	}
	return attributes
}

// Key names the variant among those of its blueprint: equal variants have equal
// keys, different ones different keys, and the zero value's is empty.
func (v Variant) Key() string {
	if len(v.Slot) == 0 && len(v.Parameters) == 0 {
		return ""
	}
	sizes := make([]string, len(v.Slot))
	for i, size := range v.Slot {
		sizes[i] = strconv.Itoa(size)
	}
	parts := []string{strings.Join(sizes, "x")}
	for _, name := range slices.Sorted(maps.Keys(v.Parameters)) {
		value := v.Parameters[name] + 0 // -0 is 0
		parts = append(parts, keyName(name)+"="+strconv.FormatFloat(value, 'g', -1, 64))
	}
	return strings.Join(parts, " ")
}

// keyName quotes a name that would run into its neighbours in a key.
func keyName(name string) string {
	if strings.ContainsAny(name, " =\"\\") {
		return strconv.Quote(name)
	}
	return name
}
