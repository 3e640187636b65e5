package evaluate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

// mostKept bounds the observations that outlive a restart.
const mostKept = 50_000

// Kept is what conditions look back at, by the id of its subject.
type Kept map[string]KeptPast

// KeptPast is that of one subject.
type KeptPast struct {
	Heard  time.Time          `json:"heard"`
	Window time.Duration      `json:"window,omitempty"`
	Times  []int64            `json:"times,omitempty"` // in microseconds
	Values []float64          `json:"values,omitempty"`
	Last   map[string]float64 `json:"last,omitempty"`
}

// Kept is what is to be restored after a restart: of those heard of last, as far as there is room.
func (e *Engine) Kept() Kept {
	kept, room := Kept{}, mostKept
	ids := slices.SortedFunc(maps.Keys(e.memory.subjects), func(a, b string) int {
		return cmp.Or(e.memory.subjects[b].heard.Compare(e.memory.subjects[a].heard), cmp.Compare(a, b))
	})
	for _, id := range ids {
		p := e.memory.subjects[id]
		if room -= 1 + len(p.samples) + len(p.last); room < 0 {
			break
		}
		kept[id] = p.kept()
	}
	return kept
}

func (p *past) kept() KeptPast {
	k := KeptPast{Heard: p.heard, Window: p.window, Last: maps.Clone(p.last)}
	maps.DeleteFunc(k.Last, func(_ string, value float64) bool { return !finite(value) }) // JSON has no other
	for _, s := range p.samples {
		k.Times, k.Values = append(k.Times, s.at.UnixMicro()), append(k.Values, s.value)
	}
	return k
}

// NotAfter has nothing remembered of a time later than now, as it must be where a clock was set back.
func (e *Engine) NotAfter(now time.Time) {
	for _, p := range e.memory.subjects {
		p.notAfter(now)
	}
	setback.NotAfter(now, &e.memory.swept)
}

func (p *past) notAfter(now time.Time) {
	for i := range p.samples {
		setback.NotAfter(now, &p.samples[i].at)
	}
	setback.NotAfter(now, &p.heard, &p.came)
}

// Restore takes it over.
func (e *Engine) Restore(kept Kept) {
	for id, k := range kept {
		p := &past{heard: k.Heard, window: k.Window, last: k.Last}
		for i := range min(len(k.Times), len(k.Values)) {
			p.samples = append(p.samples, sample{time.UnixMicro(k.Times[i]), k.Values[i]})
		}
		e.memory.subjects[id] = p
	}
}
