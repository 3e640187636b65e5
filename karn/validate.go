package karn

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// What can be wrong with a parameter; a *ParameterError wraps one of them.
var (
	ErrMissingParameter = errors.New("missing")
	ErrUnknownParameter = errors.New("not declared by the blueprint")
	ErrNotFinite        = errors.New("not a finite number")
	ErrOutOfRange       = errors.New("out of range")
)

// ParameterError says what is wrong with one parameter of a blueprint. Value
// is meaningless when the parameter is missing; Min and Max are zero when it
// is not declared.
type ParameterError struct {
	BlueprintID, Parameter string
	Value, Min, Max        float64
	Err                    error
}

func (e *ParameterError) Error() string {
	text := fmt.Sprintf("karn: blueprint %s: parameter %q: %v", e.BlueprintID, e.Parameter, e.Err)
	switch {
	case errors.Is(e.Err, ErrOutOfRange):
		text += fmt.Sprintf(": %v not within [%v, %v]", e.Value, e.Min, e.Max)
	case errors.Is(e.Err, ErrNotFinite):
		text += fmt.Sprintf(": %v", e.Value)
	}
	return text
}

// Unwrap returns the sentinel.
func (e *ParameterError) Unwrap() error { return e.Err }

// validate checks params against the bounds of a blueprint, which are inclusive: each
// declared parameter must be given, finite and within them, and nothing else may be
// given. All faults are reported together, by name, as joined *ParameterError values.
func validate(d *leyline.BlueprintDescriptor, params map[string]float64) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(d.GetAllowedParameters())) {
		if err := checkDeclared(d, params, name); err != nil {
			faults = append(faults, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if _, declared := d.GetAllowedParameters()[name]; !declared {
			faults = append(faults, &ParameterError{
				BlueprintID: d.GetBlueprintId(), Parameter: name, Value: params[name], Err: ErrUnknownParameter,
			})
		}
	}
	return errors.Join(faults...)
}

func checkDeclared(d *leyline.BlueprintDescriptor, params map[string]float64, name string) error {
	bounds := d.GetAllowedParameters()[name]
	value, given := params[name]
	fault := &ParameterError{
		BlueprintID: d.GetBlueprintId(), Parameter: name,
		Value: value, Min: bounds.GetMinValue(), Max: bounds.GetMaxValue(),
	}
	switch {
	case !given:
		fault.Err = ErrMissingParameter
	case math.IsNaN(value) || math.IsInf(value, 0):
		fault.Err = ErrNotFinite
	case value < fault.Min || value > fault.Max:
		fault.Err = ErrOutOfRange
	default:
		return nil
	}
	return fault
}

// Midpoints returns the middle of each declared interval: the parameters a
// blueprint is compiled with when nobody asks for others.
func Midpoints(d *leyline.BlueprintDescriptor) map[string]float64 {
	points := make(map[string]float64, len(d.GetAllowedParameters()))
	for name, bounds := range d.GetAllowedParameters() {
		points[name] = (bounds.GetMinValue() + bounds.GetMaxValue()) / 2
	}
	return points
}
