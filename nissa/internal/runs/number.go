package runs

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// Number is a figure that was measured. NaN, which it is when it was not, and the
// infinities are null in JSON.
type Number float64

// None is what was not measured.
func None() Number { return Number(math.NaN()) }

// Known reports whether it was measured, and is a number.
func (n Number) Known() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// MarshalJSON writes one that was made with half of the precision, as most are, with as many
// digits as that has.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Known() {
		return []byte("null"), nil
	}
	size := 64
	if float64(float32(n)) == float64(n) {
		size = 32
	}
	return strconv.AppendFloat(nil, float64(n), 'g', -1, size), nil
}

// UnmarshalJSON reads a number or null.
func (n *Number) UnmarshalJSON(raw []byte) error {
	if bytes.Equal(raw, []byte("null")) {
		*n = None()
		return nil
	}
	return json.Unmarshal(raw, (*float64)(n))
}

// count is one that the columns of databases have room for.
func count(n uint64) uint64 { return min(n, math.MaxInt64) }

// told is a figure for which 0 means that it was not measured.
func told(value float32) Number {
	if value == 0 {
		return None()
	}
	return Number(value)
}

// pick is a figure of a map.
func pick(from map[string]float32, key string) Number {
	if value, found := from[key]; found {
		return Number(value)
	}
	return None()
}
