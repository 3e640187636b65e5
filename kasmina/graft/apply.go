package graft

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// maxLatest bounds the seeds whose last order is remembered after they left.
const maxLatest = 512

// Apply lets the orders that have arrived take effect, in the order of their
// arrival, and says what they changed.
func (g *Graft) Apply() []Change {
	g.rememberLoaded()
	var changes []Change
	for _, arrived := range g.inbox.arrivals() {
		if change, ok := g.apply(arrived, time.Now()); ok {
			changes = append(changes, change...)
		}
	}
	return changes
}

// rememberLoaded takes the snapshots that seeds of a checkpoint lack, now that the
// host is loaded too.
func (g *Graft) rememberLoaded() {
	for _, slot := range g.slots {
		for _, seed := range slot.seeds {
			if seed.before == nil && seed.stage != stageTraining && !seed.kept() {
				seed.before = g.remembered(seed)
			}
		}
	}
}

// apply carries out one order. It is false for one that does nothing.
func (g *Graft) apply(a arrival, now time.Time) ([]Change, bool) {
	order := a.order
	if a.late(now) && a.err == nil { // a kernel that could not be had in time is told of
		g.drop(order, DropLate, nil)
		return nil, false
	}
	if order.Seed == "" {
		return g.applyToRun(order)
	}
	if order.Number <= g.latest[order.Seed] {
		g.drop(order, DropOvertaken, nil)
		return nil, false
	}
	g.remember(order)
	if order.Kind == trainer.Attach {
		return g.applied(g.attach(a)...), true
	}
	delete(g.failures, order.Seed)
	seed := g.find(order.Seed)
	if seed == nil {
		if order.Kind == trainer.Drop || order.Kind == trainer.Rollback {
			g.counts.add(func(s *Stats) { s.Applied++ }) // it is as it is to be
		} else {
			g.drop(order, DropUnknownSeed, nil)
		}
		return nil, false
	}
	return g.applyToSeed(order, seed)
}

// remember keeps the number of a seed's last order, so that the kernel of an
// older one, which took its time, does not come after it.
func (g *Graft) remember(order trainer.Order) {
	g.latest[order.Seed] = order.Number
	if len(g.latest) <= maxLatest {
		return
	}
	numbers := slices.Sorted(maps.Values(g.latest))
	middle := numbers[len(numbers)/2]
	maps.DeleteFunc(g.latest, func(_ string, number uint64) bool { return number < middle })
}

func (g *Graft) applied(changes ...Change) []Change {
	g.counts.add(func(s *Stats) { s.Applied++ })
	return changes
}

// step is a stage order: to where it leads, and from where.
type step struct{ from, to leyline.SeedLifecycleStage }

// steps are the stage orders. Each is one step of the contract's table.
var steps = map[trainer.Kind]step{
	trainer.Train:   {stageTraining, stageTraining},
	trainer.BlendIn: {stageTraining, stageBlending},
	trainer.Hold:    {stageBlending, stageShadowing},
	trainer.Judge:   {stageShadowing, stageProbationary},
	trainer.Keep:    {stageProbationary, stageFossilized},
	trainer.Tune:    {stageFossilized, stageFossilized},
}

func (g *Graft) applyToSeed(order trainer.Order, seed *seed) ([]Change, bool) {
	switch order.Kind {
	case trainer.Drop:
		return g.applied(g.dropSeed(order, seed)...), true
	case trainer.Rollback:
		return g.applied(g.rollback(order, seed)...), true
	case trainer.Pause, trainer.Resume:
		if order.Kind == trainer.Pause && seed.kept() { // it is part of the model
			g.drop(order, DropStage, errors.New(seed.stage.String()))
			return nil, false
		}
		seed.paused, seed.order = order.Kind == trainer.Pause, order.Number
		return g.applied(g.changed(order, seed, seed.stage)), true
	}
	step, ok := steps[order.Kind]
	if !ok || seed.stage != step.from && seed.stage != step.to {
		g.drop(order, DropStage, errors.New(seed.stage.String()))
		return nil, false
	}
	from := seed.stage
	seed.order = order.Number
	switch {
	case order.Kind == trainer.Tune && !seed.tuned:
		seed.tuned = true
		seed.clearGradients()
	case from == step.to:
		return g.applied(), true // once more
	case step.to == stageBlending:
		seed.steps = 1
		seed.before = g.remembered(seed)
	}
	seed.stage = step.to
	return g.applied(g.changed(order, seed, from)), true
}

// remembered is the model as it is before a seed joins it.
func (g *Graft) remembered(joining *seed) *before {
	g.moment++
	b := &before{moment: g.moment, kept: make(map[string]Weights)}
	if g.config.Host != nil {
		b.snapshot = g.config.Host.Snapshot(joining.id)
	}
	for _, slot := range g.slots {
		for _, seed := range slot.seeds {
			if seed.kept() {
				b.kept[seed.id] = CopyWeights(seed.weights())
			}
		}
	}
	return b
}

func (g *Graft) changed(order trainer.Order, seed *seed, from leyline.SeedLifecycleStage) Change {
	return Change{
		Kind: order.Kind, Order: order.Number, Seed: seed.id, Slot: seed.slot.name,
		From: from, To: seed.stage, Parameters: seed.instance.Parameters(),
	}
}

// dropSeed removes a seed and what it touched. To drop one that was kept is to
// go back to the model before it.
func (g *Graft) dropSeed(order trainer.Order, seed *seed) []Change {
	if seed.kept() {
		return g.rollback(order, seed)
	}
	change := g.removed(order, seed)
	change.Err = g.restore(seed.before, Touched)
	return []Change{change}
}

// rollback goes back to the model before a seed: with it go the seeds that
// joined the model after it.
func (g *Graft) rollback(order trainer.Order, seed *seed) []Change {
	changes := []Change{g.removed(order, seed)}
	if seed.before == nil {
		return changes // it never was in the output
	}
	for _, slot := range g.slots {
		for _, other := range slices.Clone(slot.seeds) {
			if other.before != nil && other.before.moment > seed.before.moment {
				changes = append(changes, g.removed(order, other))
			}
		}
	}
	changes[0].Err = g.restore(seed.before, Whole)
	for _, slot := range g.slots {
		for _, other := range slot.seeds {
			if weights, ok := seed.before.kept[other.id]; ok {
				changes[0].Err = errors.Join(changes[0].Err, weights.Restore(other.weights()))
			}
		}
	}
	return changes
}

func (g *Graft) restore(b *before, scope Scope) error {
	if b == nil || b.snapshot == nil || g.config.Host == nil {
		return nil
	}
	err := g.config.Host.Restore(b.snapshot, scope)
	if err != nil {
		g.log.Error("host not restored", "run", g.config.Run, "error", err)
	}
	return err
}

func (g *Graft) removed(order trainer.Order, gone *seed) Change {
	gone.slot.seeds = slices.DeleteFunc(gone.slot.seeds, func(s *seed) bool { return s == gone })
	change := g.changed(order, gone, gone.stage)
	change.To = stageUnknown
	return change
}

// applyToRun carries out an order to the whole run.
func (g *Graft) applyToRun(order trainer.Order) ([]Change, bool) {
	change := Change{Kind: order.Kind, Order: order.Number}
	switch order.Kind {
	case trainer.Emergency:
		g.alarm(order.Level)
	case trainer.Optimizer:
		if g.config.Host == nil || !slices.Contains(g.config.Accepts, string(trainer.Optimizer)) {
			g.drop(order, DropNotAccepted, nil)
			return nil, false
		}
		change.Err = g.config.Host.Optimizer(order.Optimizer, maps.Clone(order.Parameters))
	default:
		g.drop(order, DropMalformed, nil)
		return nil, false
	}
	g.runOrder = order.Number
	return g.applied(change), true
}

// alarm pauses the seeds from level 3 on, and halts the loop from level 4 on.
// Seeds that are kept are part of the model and stay in it.
func (g *Graft) alarm(level leyline.EmergencyLevel) {
	g.halted.Store(level >= leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT)
	if level < leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE {
		return
	}
	for _, slot := range g.slots {
		for _, seed := range slot.seeds {
			seed.paused = seed.paused || !seed.kept()
		}
	}
}
