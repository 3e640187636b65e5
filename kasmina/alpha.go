package kasmina

import "math"

// AlphaSchedule is the sigmoid ramp of a seed's share in the blend.
type AlphaSchedule struct {
	Steps       int     // N: length of the ramp; no steps means a share of 1 at once
	Temperature float64 // T: width of the ramp in steps, at least 1e-6
}

// DefaultAlphaSchedule ramps over 20 steps with a temperature of 2.
func DefaultAlphaSchedule() AlphaSchedule {
	return AlphaSchedule{Steps: 20, Temperature: 2}
}

// At is 1 / (1 + exp(-(step - N/2)/T)), written with tanh so that it cannot
// overflow. It keeps growing towards 1 after step N.
func (a AlphaSchedule) At(step int) float64 {
	if a.Steps <= 0 {
		return 1
	}
	temperature := math.Max(a.Temperature, 1e-6)
	x := (float64(step) - float64(a.Steps)/2) / temperature
	return 0.5 * (1 + math.Tanh(x/2))
}
