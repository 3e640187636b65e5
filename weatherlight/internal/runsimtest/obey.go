package runsimtest

import (
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// read takes what is new on the stream of the run, from the beginning when the
// stream is gone or began anew.
func (tr *trainee) read() {
	t := tr.town
	if t.busDown {
		return
	}
	stream := t.store.stream(tr.run.name)
	if stream == nil || stream.last < tr.position {
		tr.position = 0
	}
	if stream == nil {
		return
	}
	if !t.calm && t.chance(0.05) {
		tr.position = 0 // it lost its connection, and looks at everything again
	}
	for _, e := range stream.entries {
		if e.id > tr.position {
			tr.position = e.id
			if tr.body != nil {
				tr.body.receive(tr, e.order)
			} else {
				tr.receive(e.order)
			}
		}
	}
}

// receive verifies an order: its signature, its run, its trainer, its number.
func (tr *trainee) receive(command *leyline.AdaptationCommand) {
	t := tr.town
	if err := t.keyring.VerifyCommand(command); err != nil {
		t.audit.violate("order on the stream of run %q is not signed: %v", tr.run.name, err)
		return
	}
	order, err := trainer.ReadOrder(command)
	if err != nil {
		t.audit.violate("order on the stream of run %q cannot be read: %v", tr.run.name, err)
		return
	}
	if order.Run != tr.run.name || order.Number <= tr.orderRead && !t.defects.AppliesTwice {
		return
	}
	tr.orderRead = max(tr.orderRead, order.Number)
	if order.TrainerID != tr.id {
		t.counts.Foreign++
		return
	}
	tr.inbox = append(tr.inbox, held{order: order, read: t.now})
}

// apply lets the orders take effect whose time has come.
func (tr *trainee) apply() {
	var later []held
	for _, h := range tr.inbox {
		age := tr.town.now.Sub(h.read)
		if age < time.Duration(tr.lag)*tr.run.interval {
			later = append(later, h)
			continue
		}
		if h.order.Deadline > 0 && age > h.order.Deadline {
			tr.town.counts.Expired++
			continue
		}
		tr.obey(h.order)
	}
	tr.inbox = later
}

// obey lets one order take effect, if it is one for the state that it finds.
func (tr *trainee) obey(order trainer.Order) {
	t := tr.town
	switch order.Kind {
	case trainer.Attach:
		tr.attach(order)
	case trainer.Drop:
		tr.drop(order, order.Seed)
	case trainer.Rollback:
		tr.rollback(order)
	case trainer.Emergency:
		tr.emergency(order)
	case trainer.Optimizer:
		if !slices.Contains(tr.run.accepts, "optimizer") {
			t.audit.violate("run %q: optimizer order to a trainer that does not take any", tr.run.name)
		}
		tr.took(order, true)
	default:
		tr.move(order)
	}
}

// took tells the auditor of an order that was obeyed.
func (tr *trainee) took(order trainer.Order, effect bool) { tr.town.audit.applied(tr, order, effect) }

// attach begins to fetch a kernel.
func (tr *trainee) attach(order trainer.Order) {
	s, ok := tr.seeds[order.Seed]
	if ok && s.graft.Checksum == order.Kernel.Checksum {
		s.order = order.Number // it is there
		tr.took(order, false)
		return
	}
	if ok { // a predecessor of that name
		tr.town.audit.replaced(tr, order)
		delete(tr.seeds, order.Seed)
	}
	if f, ok := tr.fetches[order.Seed]; ok && f.order.Kernel.Checksum == order.Kernel.Checksum {
		f.order = order
		return
	}
	tr.fetches[order.Seed] = &fetch{order: order, left: pick(tr.town.world, 0, 0, 1, 4)}
}

// attachFetched attaches kernels that have come.
func (tr *trainee) attachFetched() {
	for _, seed := range slices.Sorted(maps.Keys(tr.fetches)) {
		f := tr.fetches[seed]
		if f.left--; f.left >= 0 {
			continue
		}
		delete(tr.fetches, seed)
		order := f.order
		content, flaw, reason := tr.town.library.read(order.Kernel.Ref)
		switch {
		case reason != 0:
		case digest(content) != order.Kernel.Checksum:
			reason = trainer.AttachMismatch
		case flaw != 0:
			reason = flaw
		case tr.run.slots[order.Slot] == nil, !tr.town.calm && tr.town.chance(0.03):
			reason = trainer.AttachNoRoom
		}
		if reason != 0 {
			tr.failed[seed] = &failure{order: order.Number, reason: reason, stage: tr.run.failedStage}
			tr.town.audit.attachFailed(tr, order, reason)
			continue
		}
		delete(tr.failed, seed)
		tr.seeds[seed] = &sprout{
			graft: trainer.Graft{Slot: order.Slot, Blueprint: order.Blueprint, Checksum: order.Kernel.Checksum, Order: order.Number},
			stage: stageTraining, order: order.Number, sched: order.Schedule, quality: tr.run.quality(),
		}
		tr.took(order, true)
	}
}

// drop removes a seed.
func (tr *trainee) drop(order trainer.Order, seed string) {
	_, there := tr.seeds[seed]
	delete(tr.seeds, seed)
	delete(tr.fetches, seed)
	delete(tr.failed, seed)
	tr.took(order, there)
}

// rollback brings back the model as it was before a seed: what was attached after
// it goes too.
func (tr *trainee) rollback(order trainer.Order) {
	named, there := tr.seeds[order.Seed]
	if there {
		for seed, s := range tr.seeds {
			if s.graft.Order > named.graft.Order {
				delete(tr.seeds, seed)
			}
		}
	}
	tr.drop(order, order.Seed)
}

func (tr *trainee) emergency(order trainer.Order) {
	tr.halted = order.Level >= leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT // a lower one lifts it
	if order.Level >= leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE {
		for _, s := range tr.seeds {
			s.paused = true
		}
	}
	tr.took(order, true)
}

// targets is the stage that an order brings a seed to, and the one before.
var targets = map[trainer.Kind][2]leyline.SeedLifecycleStage{
	trainer.Train:   {stageTraining, stageTraining},
	trainer.BlendIn: {stageTraining, stageBlending},
	trainer.Hold:    {stageBlending, stageShadowing},
	trainer.Judge:   {stageShadowing, stageProbationary},
	trainer.Keep:    {stageProbationary, stageFossilized},
	trainer.Tune:    {stageFossilized, stageFossilized},
}

// move takes a seed from one stage to the next, or in and out of the output.
func (tr *trainee) move(order trainer.Order) {
	s, ok := tr.seeds[order.Seed]
	if !ok {
		tr.town.audit.misplaced(tr, order, stageUnknown)
		return
	}
	if order.Kind == trainer.Pause || order.Kind == trainer.Resume {
		effect := s.paused != (order.Kind == trainer.Pause)
		s.paused, s.order = order.Kind == trainer.Pause, order.Number
		tr.took(order, effect)
		return
	}
	target := targets[order.Kind]
	switch s.stage {
	case target[1]:
		s.order = order.Number
		tr.took(order, order.Kind == trainer.Tune && !s.tuned)
		s.tuned = s.tuned || order.Kind == trainer.Tune
	case target[0]:
		s.stage, s.steps, s.order = target[1], 0, order.Number
		tr.took(order, true)
	default:
		tr.town.audit.misplaced(tr, order, s.stage)
	}
}
