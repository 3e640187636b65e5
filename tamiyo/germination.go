package tamiyo

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Why nothing can be germinated, as in the event no_seed_candidates.
const (
	starvedOfLayers     = "no_host_layers"
	starvedOfSlots      = "no_slots"
	starvedOfBlueprints = "no_safe_blueprint"
)

// considerGermination asks for new seeds when the host has stopped learning and
// there is room for some, and asks again for one that did not show.
func (e *evaluation) considerGermination() {
	halted := e.state.Packet.GetTrainingMetrics()[trainer.MetricHalted] >= 1
	if e.record.Conservative.active() || halted {
		return
	}
	e.repeatGerminations()
	stalled := e.validated && e.record.Loss.Stalled >= e.config.Patience
	if !stalled || !e.room() {
		return
	}
	switch {
	case len(e.state.HostLayers) == 0:
		e.reportStarved(starvedOfLayers)
	case len(e.state.Slots) == 0:
		e.reportStarved(starvedOfSlots)
	default:
		e.fillSlots()
	}
}

func (e *evaluation) repeatGerminations() {
	for _, s := range slices.Clone(e.record.Seeds) {
		if s.awaited() && e.lapsed(s) && e.commandable(s) {
			e.record.put(e.order(s, opGerminate, causeStall))
		}
	}
}

// room says whether one more seed may grow.
func (e *evaluation) room() bool {
	return e.record.growing() < e.config.MaxGrowing && len(e.record.Seeds) < e.config.MaxSeeds
}

// fillSlots goes through the free slots, those where the least was tried first, then by
// their names. What may grow at one is asked only when it is its turn: to know it may
// mean to compile.
func (e *evaluation) fillSlots() {
	var unknown error
	unknownSlot, germinated, asked := "", false, false
	for _, name := range slices.SortedFunc(maps.Keys(e.state.Slots), e.record.slotOrder) {
		if !e.room() {
			break
		}
		if !isWord(name) || e.record.occupied(name) {
			continue
		}
		asked = true
		candidate, found, err := e.candidate(name)
		if err != nil && unknown == nil {
			unknown, unknownSlot = err, name
		}
		if found {
			germinated = true
			e.germinate(name, candidate)
		}
	}
	e.reportUnavailable(unknownSlot, unknown)
	switch {
	case germinated:
		e.record.Starved = false
	case asked && unknown == nil:
		e.reportStarved(starvedOfBlueprints)
	}
}

func (e *evaluation) germinate(slot string, candidate Candidate) {
	s := seed{
		ID: e.record.seedID(slot, candidate.BlueprintID), Slot: slot, Blueprint: candidate.BlueprintID,
		Born: e.record.Evaluated, Seen: e.record.Evaluated,
	}
	if e.chosen == nil {
		e.chosen = map[string]Candidate{}
	}
	e.chosen[s.ID] = candidate
	e.record.put(e.order(s, opGerminate, causeStall))
}

// candidate chooses the strongest safe blueprint that was not written off at the
// slot and that the host can afford. Those that failed there for no fault of theirs
// come after the others.
func (e *evaluation) candidate(name string) (Candidate, bool, error) {
	if e.candidates == nil {
		return Candidate{}, false, errors.New("nothing lists blueprints")
	}
	candidates, err := e.candidates(e.state.Slots[name])
	if err != nil {
		return Candidate{}, false, err
	}
	memory := e.record.Slots[name]
	usable := slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool {
		return !c.safe() || !c.affordable(e.state.hostWork()) || slices.Contains(memory.WrittenOff, c.BlueprintID)
	})
	if len(usable) == 0 {
		return Candidate{}, false, nil
	}
	places := positions(e.state.Slots[name])
	return slices.MinFunc(usable, func(a, b Candidate) int {
		return cmp.Or(
			cmp.Compare(memory.Setbacks[a.BlueprintID], memory.Setbacks[b.BlueprintID]),
			cmp.Compare(b.strength(places), a.strength(places)),
			cmp.Compare(b.ParameterCount, a.ParameterCount),
			cmp.Compare(a.BlueprintID, b.BlueprintID))
	}), true, nil
}

func (c Candidate) safe() bool {
	return isWord(c.BlueprintID) && c.Tier == leyline.BlueprintTier_BLUEPRINT_TIER_SAFE &&
		!c.ApprovalRequired && !c.QuarantineOnly && c.ParameterCount > 0
}

// What a seed may cost: mostWork times its host. Measured at equal compute
// (docs/growth.md): a larger one leaves too few steps to train it. Work below freeWork
// takes no time beside that of a step, however small its host is.
const (
	mostWork = 1
	freeWork = 2000 // multiply-adds
)

// hostWork is what the host costs, 0 when its trainer does not tell.
func (s State) hostWork() float64 {
	return float64(s.Packet.GetTrainingMetrics()[trainer.MetricHostMultiplyAdds])
}

func (c Candidate) affordable(hostWork float64) bool {
	return !(hostWork > 0) || float64(c.MultiplyAdds) <= max(mostWork*hostWork, freeWork)
}

// strength is the work that its weights do at the positions of a slot, each once.
// Weights alone speak for tables that compute next to nothing with them, such as learned
// positions; work alone speaks for attention, which compares positions by few weights.
func (c Candidate) strength(positions int) float64 {
	return float64(min(int64(c.ParameterCount)*int64(positions), max(c.MultiplyAdds, 1)))
}

// positions is at how many places of a slot the same weights are at work.
func positions(slot []int) int {
	switch len(slot) {
	case 2: // a sequence and its width
		return slot[0]
	case 3: // channels before height and width
		return slot[1] * slot[2]
	default:
		return 1
	}
}

// reportStarved speaks once per famine: it lasts until the forge is done.
func (e *evaluation) reportStarved(reason string) {
	if e.record.Starved {
		return
	}
	e.record.Starved = true
	e.event("no_seed_candidates", levelWarning, "training_run_id", e.record.Run,
		"packet_id", e.state.Packet.GetPacketId(), "reason", reason)
}

// reportUnavailable speaks once until everything that was asked for is known.
func (e *evaluation) reportUnavailable(slot string, err error) {
	told := e.record.Unavailable
	e.record.Unavailable = err != nil
	if err == nil || told {
		return
	}
	e.event("seed_candidates_unavailable", levelWarning,
		"training_run_id", e.record.Run, "slot", slot, "reason", clipped(err.Error()))
}

// clipped is a text that somebody else made up as far as it is told.
func clipped(text string) string {
	const longest = 256
	return strings.ToValidUTF8(text[:min(len(text), longest)], "")
}
