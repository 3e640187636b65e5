package demo

import (
	"slices"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// life is what became of one seed: what its trainer did, and why the service had
// it done.
type life struct {
	id, blueprint string
	stages        []string
	gate, reason  string // of the last gate
	measured      map[string]float64
}

// kept says that the seed became part of the network, dropped that it was taken
// out again.
func (l *life) kept() bool    { return l.last() == stageFossilized }
func (l *life) dropped() bool { return l.last() == stageCulled }

func (l *life) last() string {
	if len(l.stages) == 0 {
		return ""
	}
	return l.stages[len(l.stages)-1]
}

func (l *life) enter(stage string) bool {
	if l.last() == stage {
		return false
	}
	l.stages = append(l.stages, stage)
	return true
}

// lives are those of the seeds of one run, in the order of their appearance. They
// belong to its training loop.
type seedLives struct {
	list    []*life
	seen    map[string]seedView
	onStage func(seedID, blueprintID, stage, reason string)
}

func newLives(onStage func(seedID, blueprintID, stage, reason string)) *seedLives {
	return &seedLives{seen: make(map[string]seedView), onStage: onStage}
}

func (l *seedLives) of(id string) *life {
	if at := slices.IndexFunc(l.list, func(known *life) bool { return known.id == id }); at >= 0 {
		return l.list[at]
	}
	l.list = append(l.list, &life{id: id})
	return l.list[len(l.list)-1]
}

// change takes what an order has changed in the trainer.
func (l *seedLives) change(change graft.Change) {
	if change.Seed == "" || change.Err != nil && change.Kind == trainer.Attach {
		return
	}
	seed := l.of(change.Seed)
	l.tell(seed)
	stage := change.To.String()
	switch change.To {
	case leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN:
		stage = stageCulled
	case leyline.SeedLifecycleStage_SEED_STAGE_TRAINING:
		if len(seed.stages) == 0 {
			seed.enter(stageGerminated)
		}
	}
	if seed.enter(stage) && l.onStage != nil {
		reason := ""
		if stage == stageCulled {
			reason = seed.reason
		}
		l.onStage(seed.id, seed.blueprint, stage, reason)
	}
}

// look takes what the service shows of the run; nil is nothing.
func (l *seedLives) look(view *runView) {
	if view == nil {
		return
	}
	for _, seen := range view.Kasmina.Seeds {
		for _, pending := range view.Kasmina.Pending {
			if pending.Seed == seen.ID && pending.Kind == string(trainer.Drop) && seen.LastFailure == "" {
				seen.LastFailure = pending.Reason
			}
		}
		l.seen[seen.ID] = seen
	}
	for _, seed := range l.list {
		l.tell(seed)
	}
}

// tell brings a life up to what was seen of the seed.
func (l *seedLives) tell(seed *life) {
	seen, ok := l.seen[seed.id]
	if !ok {
		return
	}
	seed.blueprint, seed.gate, seed.reason = seen.Blueprint, seen.LastGate, seen.LastFailure
	if len(seen.Measured) > 0 {
		seed.measured = seen.Measured
	}
}
