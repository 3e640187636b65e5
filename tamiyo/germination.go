package tamiyo

import (
	"strings"

	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
)

// Why nothing can be germinated, as in the event no_seed_candidates.
const (
	starvedOfLayers     = "no_host_layers"
	starvedOfSlots      = "no_slots"
	starvedOfBlueprints = "no_safe_blueprint"
)

// germinatePlanned asks for new seeds when the host has stopped learning and there is
// room for some, and asks again for those that did not show, unless a rule holds.
func (e *evaluation) germinatePlanned() {
	if e.conservative() {
		return
	}
	if e.verdict.Effect < rules.Hold {
		for _, s := range e.plan.repeats {
			e.record.put(e.order(s, opGerminate, causeStall))
		}
		for _, planned := range e.plan.seeds {
			e.germinate(planned)
			e.record.InVain = 0
		}
	}
	if e.plan.sought {
		e.reportUnavailable(e.plan.unknownSlot, e.plan.unknown)
	}
	switch {
	case e.plan.starved != "":
		e.reportStarved(e.plan.starved)
	case len(e.plan.seeds) > 0:
		e.record.Starved = false
	}
}

func (e *evaluation) germinate(planned choice) {
	id := planned.candidate.BlueprintID
	s := seed{
		ID: e.record.seedID(planned.slot, id), Slot: planned.slot, Blueprint: id,
		Work:   seedWork(planned.candidate, e.state.Slots[planned.slot]),
		origin: origin{Blend: planned.blend(), Considered: e.plan.beside(planned), Policy: inForce(e.policy)},
		Born:   e.record.Evaluated, Seen: e.record.Evaluated,
	}
	if e.chosen == nil {
		e.chosen = map[string]choice{}
	}
	e.chosen[s.ID] = planned
	e.record.put(e.order(s, opGerminate, causeStall))
}

// seedWork is what a seed of a blueprint costs at a slot of that shape, 1 at least.
func seedWork(c Candidate, shape []int) int64 { return int64(min(max(c.work(shape), 1), maxNumber)) }

// reportStarved speaks once per famine: it lasts until the forge is done.
func (e *evaluation) reportStarved(reason string) {
	if e.record.Starved {
		return
	}
	e.record.Starved = true
	e.event("no_seed_candidates", levelWarning, "training_run_id", e.record.Run,
		"packet_id", e.state.Packet.GetPacketId(), "reason", reason)
}

// reportUnavailable speaks once until all slots are known, or as many as there were seeds to begin.
func (e *evaluation) reportUnavailable(slot string, err error) {
	if err == nil {
		ended := e.record.InVain == 0 || len(e.plan.seeds) > 0
		e.record.Unavailable = e.record.Unavailable && (e.record.Unknown || !ended)
		return
	}
	if e.record.Unavailable {
		return
	}
	e.record.Unavailable = true
	e.event("seed_candidates_unavailable", levelWarning,
		"training_run_id", e.record.Run, "slot", slot, "reason", clipped(err.Error()))
}

// clipped is a text that somebody else made up as far as it is told.
func clipped(text string) string {
	const longest = 256
	return strings.ToValidUTF8(text[:min(len(text), longest)], "")
}
