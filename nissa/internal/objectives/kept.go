package objectives

import (
	"maps"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

// Kept is what is restored after a restart.
type Kept struct {
	Objectives []KeptObjective    `json:"objectives,omitempty"`
	Counters   map[string]counter `json:"counters,omitempty"`
}

// KeptObjective is what was counted for one.
type KeptObjective struct {
	Name   string        `json:"name"`
	Window time.Duration `json:"window"`
	Fine   []slot        `json:"fine"`
	Coarse []slot        `json:"coarse"`
}

// Kept is what was counted.
func (k *Keeper) Kept() Kept {
	kept := Kept{Counters: maps.Clone(k.counters)}
	for _, s := range k.states {
		kept.Objectives = append(kept.Objectives, KeptObjective{
			Name: s.objective.Name, Window: s.objective.Window, Fine: s.fine.kept(), Coarse: s.coarse.kept(),
		})
	}
	return kept
}

// NotAfter has nothing counted later than now, as it must be where a clock was set back.
func (k *Keeper) NotAfter(now time.Time) {
	for id, c := range k.counters {
		setback.NotAfter(now, &c.At, &c.Came)
		k.counters[id] = c
	}
	for _, s := range k.states {
		s.fine.notAfter(now)
		s.coarse.notAfter(now)
	}
	setback.NotAfter(now, &k.swept)
}

// Restore takes it over for the objectives that there still are.
func (k *Keeper) Restore(kept Kept) {
	for _, o := range kept.Objectives {
		for _, s := range k.states {
			if s.objective.Name == o.Name && s.objective.Window == o.Window {
				s.fine.restore(o.Fine)
				s.coarse.restore(o.Coarse)
			}
		}
	}
	for id, c := range kept.Counters {
		if len(k.counters) < maxCounters {
			k.counters[id] = c
		}
	}
}
