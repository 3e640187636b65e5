package tezzeret

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

// ErrParameters says that the parameters given are not those the blueprint
// declares, or not within its bounds.
var ErrParameters = errors.New("tezzeret: invalid parameters")

// Midpoints returns the middle of each declared interval: what a blueprint is
// compiled with when nobody asks for something else.
func Midpoints(d *leyline.BlueprintDescriptor) map[string]float64 {
	points := make(map[string]float64, len(d.GetAllowedParameters()))
	for name, bounds := range d.GetAllowedParameters() {
		points[name] = (bounds.GetMinValue() + bounds.GetMaxValue()) / 2
	}
	return points
}

// Complete returns the parameters that a kernel is built with when only some are
// given: the given ones, and the midpoints of the others. A value that is a bound to
// the precision of a float32, in which commands carry parameters, is that bound.
// Errors are ErrParameters: a name that is not declared, or a value out of bounds.
func Complete(d *leyline.BlueprintDescriptor, given map[string]float64) (map[string]float64, error) {
	params := Midpoints(d)
	for name, value := range given {
		bounds := d.GetAllowedParameters()[name]
		for _, bound := range []float64{bounds.GetMinValue(), bounds.GetMaxValue()} {
			if float32(value) == float32(bound) {
				value = bound
			}
		}
		if value == 0 {
			value = 0 // not the negative one: equal parameters are written alike
		}
		params[name] = value
	}
	if err := checkParameters(d, params); err != nil {
		return nil, err
	}
	return params, nil
}

// checkParameters wants each declared parameter, within its inclusive bounds,
// and no other.
func checkParameters(d *leyline.BlueprintDescriptor, params map[string]float64) error {
	declared := d.GetAllowedParameters()
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		value, given := params[name]
		low, high := declared[name].GetMinValue(), declared[name].GetMaxValue()
		if !given {
			return fmt.Errorf("%w: %s: %q is missing", ErrParameters, d.GetBlueprintId(), name)
		}
		// Written so that NaN fails too.
		if !(value >= low && value <= high) {
			return fmt.Errorf("%w: %s: %q is %v, want %v to %v",
				ErrParameters, d.GetBlueprintId(), name, value, low, high)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if _, ok := declared[name]; !ok {
			return fmt.Errorf("%w: %s: %q is not declared", ErrParameters, d.GetBlueprintId(), name)
		}
	}
	return nil
}

// canonical writes parameters as one text, the same for equal parameters:
// sorted names, shortest decimals.
func canonical(params map[string]float64) string {
	fields := make([]string, 0, len(params))
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fields = append(fields, name+"="+strconv.FormatFloat(params[name], 'g', -1, 64))
	}
	return strings.Join(fields, ",")
}

// count reads a parameter that means a number of things: rounded half away
// from zero, at least 1.
func count(value float64) int { return max(1, int(math.Round(value))) }
