package metadata

import (
	"encoding/json"
	"math"
	"slices"
)

// KeptSamples is how many pre-warm times a row remembers.
const KeptSamples = 20

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
	return out[max(0, len(out)-KeptSamples):]
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
