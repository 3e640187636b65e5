package tamiyo

import "math"

// lossTrend follows a run's validation loss from epoch to epoch.
type lossTrend struct {
	known    bool
	previous float64 // last finite loss
	best     float64
	stalled  uint32 // epochs since best
}

// step takes the next loss and returns the trend after it. A loss that is not
// finite is no improvement, and is not compared with later.
func (t lossTrend) step(loss, minDelta float64) lossTrend {
	valid := finite(loss)
	switch {
	case !valid:
		t.stalled++
	case !t.known:
		t = lossTrend{known: true, previous: loss, best: loss}
	case loss < t.best-minDelta*math.Abs(t.best):
		t.previous, t.best, t.stalled = loss, loss, 0
	default:
		t.previous = loss
		t.stalled++
	}
	return t
}

// restart begins a new patience window at the present loss.
func (t lossTrend) restart() lossTrend {
	t.best, t.stalled = t.previous, 0
	return t
}
