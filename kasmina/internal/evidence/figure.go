package evidence

import (
	"math"
	"strconv"
)

// Figure is a measured number. NaN means that it was not measured, Broken that
// it was measured and is no finite number. It is stored by its absence or by
// the largest float32.
type Figure float32

// Broken is a measurement that is no finite number.
const Broken Figure = math.MaxFloat32

// Unknown is a figure that was not measured.
func Unknown() Figure { return Figure(math.NaN()) }

// IsZero leaves unmeasured figures out of a record.
func (f Figure) IsZero() bool { return math.IsNaN(float64(f)) }

// Known reports that it was measured.
func (f Figure) Known() bool { return !f.IsZero() }

// Finite reports that it was measured and is a number.
func (f Figure) Finite() bool { return f > -Broken && f < Broken }

// Value is the number for telemetry.
func (f Figure) Value() float64 {
	if f == Broken {
		return math.Inf(1)
	}
	return float64(f)
}

// String has four decimals.
func (f Figure) String() string { return strconv.FormatFloat(f.Value(), 'f', 4, 32) }

// ReadFigure takes one figure out of metrics.
func ReadFigure(metrics map[string]float32, name string) Figure {
	value, ok := metrics[name]
	switch {
	case !ok:
		return Unknown()
	case math.IsNaN(float64(value)) || math.IsInf(float64(value), 0):
		return Broken
	default:
		return Figure(value)
	}
}
