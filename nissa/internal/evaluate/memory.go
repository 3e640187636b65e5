package evaluate

import (
	"math"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

const (
	maxSubjects = 20_000 // of which something is kept
	maxSamples  = 256    // of one subject
	sweepPause  = time.Second
	staleAfter  = 15 * time.Minute
)

// sample is one observation.
type sample struct {
	at    time.Time
	value float64
}

// past is what is kept of one subject.
type past struct {
	samples []sample // in the order of their times
	last    map[string]float64
	heard   time.Time
	came    time.Time // when the newest sample did, by our clock
	window  time.Duration
}

// memory is what conditions look back at.
type memory struct {
	subjects map[string]*past
	swept    time.Time
}

func newMemory() *memory { return &memory{subjects: map[string]*past{}} }

// of is what is kept of a subject; nil when there is no room for one more.
func (m *memory) of(id string, now time.Time) *past {
	known := m.subjects[id]
	if known == nil {
		if len(m.subjects) >= maxSubjects && !m.sweep(now) {
			return nil
		}
		known = &past{}
		m.subjects[id] = known
	}
	if known.heard.Before(now) {
		known.heard = now
	}
	return known
}

// Forget has conditions look back at nothing of a subject.
func (e *Engine) Forget(id string) { delete(e.memory.subjects, id) }

// sweep forgets the subjects that are not heard of, and tells whether there is room.
func (m *memory) sweep(now time.Time) bool {
	if now.Sub(m.swept) < sweepPause {
		return false
	}
	m.swept = now
	for id, p := range m.subjects {
		if now.Sub(p.heard) > max(staleAfter, p.window) {
			delete(m.subjects, id)
		}
	}
	return len(m.subjects) < maxSubjects
}

func (m *memory) setLast(id, metric string, value float64, now time.Time) {
	if p := m.of(id, now); p != nil {
		if p.last == nil {
			p.last = map[string]float64{}
		}
		p.last[metric] = value
	}
}

// add keeps an observation for as long as the longest window wants. One that is late is left
// out. Of many within a window some are left out, so that the window stays whole.
func (m *memory) add(id string, at, now time.Time, value float64, window time.Duration) {
	p := m.of(id, at)
	if p == nil || !finite(value) {
		return
	}
	if n := len(p.samples); n > 0 && at.Before(p.samples[n-1].at) {
		if setback.Late(at, now, p.samples[n-1].at, p.came) {
			return
		}
		p.notAfter(at)
	}
	p.window, p.came = window, now
	p.samples = append(p.samples, sample{at, value})
	old := 0
	for old+1 < len(p.samples) && at.Sub(p.samples[old+1].at) >= window {
		old++ // one before the window is kept, for what has increased within it
	}
	p.samples = p.samples[old:]
	if len(p.samples) > maxSamples {
		p.samples = thinned(p.samples)
	}
}

// thinned are the samples with each second one of the older half left out.
func thinned(samples []sample) []sample {
	half := len(samples) / 2
	kept := make([]sample, 0, maxSamples)
	for i := 0; i < half; i += 2 {
		kept = append(kept, samples[i])
	}
	return append(kept, samples[half:]...)
}

// fill lets a condition look back at the observations of a subject, and at the last values of one.
func (m *memory) fill(env *rules.Env, id, asked string, now time.Time) {
	p, other := m.subjects[id], m.subjects[asked]
	if p == nil {
		p = &past{}
	}
	env.Last = func(metric string) float64 {
		if other != nil {
			if value, known := other.last[metric]; known {
				return value
			}
		}
		return math.NaN()
	}
	env.Count = p.over(now, func(within []sample) float64 { return float64(len(within)) })
	env.Average = p.over(now, average)
	env.Highest = p.over(now, func(within []sample) float64 { return folded(within, math.Max) })
	env.Lowest = p.over(now, func(within []sample) float64 { return folded(within, math.Min) })
	env.Increase = func(window string) float64 { return p.increase(now, window) }
}

func (p *past) over(now time.Time, of func([]sample) float64) func(string) float64 {
	return func(window string) float64 { return of(p.samples[p.from(now, window):]) }
}

// from is where a window begins.
func (p *past) from(now time.Time, window string) int {
	length, err := rules.Window(window)
	if err != nil {
		return len(p.samples) // no condition asks for it
	}
	for i, s := range p.samples {
		if now.Sub(s.at) < length {
			return i
		}
	}
	return len(p.samples)
}

// increase is how much a counter has risen within a window. One that falls was set back to 0.
func (p *past) increase(now time.Time, window string) float64 {
	first := max(p.from(now, window)-1, 0)
	sum := 0.0
	for i := first + 1; i < len(p.samples); i++ {
		sum += risen(p.samples[i-1].value, p.samples[i].value)
	}
	return sum
}

func risen(before, after float64) float64 {
	if after < before {
		return after
	}
	return after - before
}

func average(within []sample) float64 {
	if len(within) == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, s := range within {
		sum += s.value
	}
	return sum / float64(len(within))
}

func folded(within []sample, with func(a, b float64) float64) float64 {
	if len(within) == 0 {
		return math.NaN()
	}
	result := within[0].value
	for _, s := range within[1:] {
		result = with(result, s.value)
	}
	return result
}
