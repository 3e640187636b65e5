package graft

import (
	"math"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// maxTimings is how many forward passes are looked at for one report.
const maxTimings = 64

// meters are what is measured of one seed between two reports.
type meters struct {
	norms        float64 // sum of the gradient norms of the steps
	steps        int     // that had a gradient
	hostGradient float64 // largest that came through a blend
	faults       int
	fault        string // the last one
	timings      []float64
	next         int
}

func (m *meters) countFault(err error) {
	m.faults++
	m.fault = err.Error()
}

// timed takes the time of one forward pass; the latest ones count.
func (m *meters) timed(took time.Duration) {
	ms := float64(took) / float64(time.Millisecond)
	if len(m.timings) < maxTimings {
		m.timings = append(m.timings, ms)
		return
	}
	m.timings[m.next%maxTimings] = ms
	m.next++
}

// tell writes the measurements into a seed's metrics and begins anew.
func (m *meters) tell(metrics map[string]float32) {
	if m.steps > 0 {
		metrics[trainer.MetricGradientNorm] = float32(m.norms / float64(m.steps))
	}
	metrics[trainer.MetricHostGradientMax] = float32(m.hostGradient)
	metrics[trainer.MetricForwardFaults] = count(m.faults)
	if len(m.timings) > 0 {
		median, spread := spread(m.timings)
		metrics[trainer.MetricForwardMS], metrics[trainer.MetricForwardSpread] = float32(median), float32(spread)
	}
	*m = meters{timings: m.timings[:0]}
}

// maxCount is the largest number that a metric may hold and still be exact.
const maxCount = 1<<24 - 1

func count[T int | uint64](n T) float32 { return float32(min(n, maxCount)) }

// spread is the median of samples, and their standard deviation over their mean.
func spread(samples []float64) (median, relative float64) {
	sorted := slices.Sorted(slices.Values(samples))
	median = (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
	sum, squares := 0.0, 0.0
	for _, x := range samples {
		sum += x
	}
	mean := sum / float64(len(samples))
	for _, x := range samples {
		squares += (x - mean) * (x - mean)
	}
	if mean == 0 {
		return median, 0
	}
	return median, math.Sqrt(squares/float64(len(samples))) / mean
}

// step measures what the last Backward left and advances the ramps.
func (s *Slot) step() {
	for _, entry := range s.entries {
		if grad := entry.value.Grad(); grad != nil {
			largest := largestOf(grad.Data)
			for _, seed := range entry.seeds {
				seed.meters.hostGradient = max(seed.meters.hostGradient, largest) // keeps a NaN
			}
		}
	}
	s.entries = s.entries[:0]
	for _, seed := range s.seeds {
		switch {
		case seed.learns():
			seed.measureGradient()
		case seed.kept(): // the gradient flows through it, its parameters rest
			seed.clearGradients()
		}
		if seed.stage == stageBlending && !seed.paused {
			seed.steps++
		}
	}
}

func (s *seed) measureGradient() {
	squares := 0.0
	for _, parameter := range s.instance.Parameters() {
		if parameter.Grad != nil {
			squares += squaresOf(parameter.Grad.Data)
		}
	}
	if squares != 0 {
		s.meters.norms += math.Sqrt(squares)
		s.meters.steps++
	}
}

// squaresOf is the sum of the squares, in four sums that do not wait for each
// other.
func squaresOf(data []float32) float64 {
	var a, b, c, d float64
	for ; len(data) >= 4; data = data[4:] {
		w, x, y, z := float64(data[0]), float64(data[1]), float64(data[2]), float64(data[3])
		a, b, c, d = a+w*w, b+x*x, c+y*y, d+z*z
	}
	for _, v := range data {
		a += float64(v) * float64(v)
	}
	return a + b + c + d
}

// largestOf is the largest size of an element, and no number when one is none.
func largestOf(data []float32) float64 { return float64(math.Float32frombits(largestBits(data))) }

// finite says that no element is infinite or not a number.
func finite(data []float32) bool { return largestBits(data) < infiniteBits }

// infiniteBits are those of infinity. Without their sign, floats are ordered as their
// bits are, and what is no number comes last.
const infiniteBits = 0x7f800000

func largestBits(data []float32) uint32 {
	const unsigned = 1<<31 - 1
	var a, b, c, d uint32
	for ; len(data) >= 4; data = data[4:] {
		a, b = max(a, math.Float32bits(data[0])&unsigned), max(b, math.Float32bits(data[1])&unsigned)
		c, d = max(c, math.Float32bits(data[2])&unsigned), max(d, math.Float32bits(data[3])&unsigned)
	}
	for _, v := range data {
		a = max(a, math.Float32bits(v)&unsigned)
	}
	return max(a, b, c, d)
}

// shared counts the seed's parameters that are the host's too.
func shared(seed, host []*kernel.Parameter) int {
	count := 0
	for _, own := range seed {
		if slices.ContainsFunc(host, func(p *kernel.Parameter) bool { return sameParameter(own, p) }) {
			count++
		}
	}
	return count
}

// sameParameter also sees two parameters over one array.
func sameParameter(a, b *kernel.Parameter) bool {
	return a == b || a.Value == b.Value ||
		len(a.Value.Data) > 0 && len(b.Value.Data) > 0 && &a.Value.Data[0] == &b.Value.Data[0]
}
