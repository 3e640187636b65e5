package tamiyo

import "math"

// lossTrend follows a run's validation loss from report to report.
type lossTrend struct {
	Known    bool    `json:"known"`
	Previous float32 `json:"previous"` // last finite loss
	Best     float32 `json:"best"`
	Stalled  uint32  `json:"stalled"` // epochs since best
}

// step takes the next loss and returns the trend after it. A loss that is not
// finite is no improvement, and is not compared with later.
func (t lossTrend) step(loss float32, minDelta float64) lossTrend {
	best := float64(t.Best)
	switch {
	case !finite(float64(loss)):
		t.Stalled++
	case !t.Known:
		t = lossTrend{Known: true, Previous: loss, Best: loss}
	case float64(loss) < best-minDelta*math.Abs(best):
		t.Previous, t.Best, t.Stalled = loss, loss, 0
	default:
		t.Previous = loss
		t.Stalled++
	}
	return t
}

// restart begins a new patience window at the present loss.
func (t lossTrend) restart() lossTrend {
	t.Best, t.Stalled = t.Previous, 0
	return t
}
