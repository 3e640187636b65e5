package graft

import (
	"errors"
	"fmt"
	"strings"

	"github.com/esper-lite/weatherlight/trainer"
)

// failure is an attach that failed, told until the service has heard of it.
type failure struct {
	order  uint64
	reason trainer.AttachFailure
}

// toldFor is in how many published reports a failed attach is told, and
// maxFailures how many at once.
const (
	toldFor     = 8
	maxFailures = 64
)

// attach takes an attach order to its end. An order for a seed that is attached
// with the same kernel changes nothing; another kernel is a new life.
func (g *Graft) attach(a arrival) []Change {
	order, present := a.order, g.find(a.order.Seed)
	delete(g.failures, order.Seed)
	var changes []Change
	if present != nil {
		if strings.EqualFold(present.checksum, order.Kernel.Checksum) && present.isIn(order.Slot) {
			present.order, present.attachOrder = order.Number, order.Number
			return nil
		}
		if present.kept() {
			return g.failed(order, trainer.AttachNoRoom, errors.New("the seed is part of the model with another kernel"))
		}
		changes = g.dropSeed(order, present)
	}
	switch {
	case a.err != nil:
		return append(changes, g.failed(order, a.err.Failure, a.err.Err)...)
	case g.attached() >= g.config.MaxSeeds:
		err := fmt.Errorf("%d seeds are attached, which is as many as this trainer takes", g.attached())
		return append(changes, g.failed(order, trainer.AttachNoRoom, err)...)
	}
	slot := a.kernel.slot
	joining := &seed{
		id: order.Seed, blueprint: order.Blueprint, checksum: strings.ToLower(order.Kernel.Checksum),
		slot: slot, instance: a.kernel.instance, blend: order.Blend, schedule: order.Schedule,
		stage: stageTraining, attachOrder: order.Number, order: order.Number,
	}
	slot.seeds = append(slot.seeds, joining)
	return append(changes, g.changed(order, joining, stageUnknown))
}

func (s *seed) isIn(slot string) bool { return slot == "" || slot == s.slot.name }

// failed remembers an attach that failed, for the reports.
func (g *Graft) failed(order trainer.Order, reason trainer.AttachFailure, err error) []Change {
	g.log.Warn("kernel not attached", "seed", order.Seed, "blueprint", order.Blueprint, "reason", reason.Reason(), "error", err)
	if len(g.failures) >= maxFailures {
		g.forgetOldest()
	}
	g.failures[order.Seed] = &failure{order: order.Number, reason: reason}
	return []Change{{
		Kind: order.Kind, Order: order.Number, Seed: order.Seed, Slot: order.Slot,
		Err: &AttachError{Seed: order.Seed, Failure: reason, Err: err},
	}}
}

func (g *Graft) forgetOldest() {
	oldest, least := "", uint64(0)
	for id, f := range g.failures {
		if oldest == "" || f.order < least {
			oldest, least = id, f.order
		}
	}
	delete(g.failures, oldest)
}
