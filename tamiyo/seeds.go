package tamiyo

import (
	"maps"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// vanishedAfter is the number of packets in a row that may miss a living seed
// before it counts as removed from the host.
const vanishedAfter = 2

// observeSeeds brings the run's seeds up to the packet and reports those that
// ended since the last one.
func (e *evaluation) observeSeeds() {
	for _, state := range e.state.GetSeedStates() {
		e.observeSeed(state)
	}
	for _, id := range slices.Sorted(maps.Keys(e.run.seeds)) {
		if s := e.run.seeds[id]; s.seenEpoch != e.run.epoch {
			e.missSeed(s)
		}
	}
}

func (e *evaluation) observeSeed(state *leyline.SeedState) {
	s, watch := e.recognise(state)
	if !watch {
		return
	}
	before := s.stage
	s = s.observe(state, e.run.epoch, e.config)
	if !s.ended && !alive(s.stage) {
		s = e.end(s, before)
	}
	e.run.seeds[s.id] = s
}

// recognise returns the record that state belongs to, and whether state says
// anything about it.
func (e *evaluation) recognise(state *leyline.SeedState) (seed, bool) {
	s, known := e.run.seeds[state.GetSeedId()]
	switch {
	case state.GetSeedId() == "" || state.GetStage() == stageUnknown:
		return seed{}, false
	case !known || s.ended && alive(state.GetStage()): // new, or its name is used again
		return e.firstSight(state)
	case s.stage == stageUnknown: // awaited; a dormant slot is not yet the seed
		return s, state.GetStage() != stageDormant
	default:
		return s, s.seenEpoch != e.run.epoch // twice in one packet counts once
	}
}

// firstSight decides whether to watch a seed the controller knows nothing of,
// most often after a restart.
func (e *evaluation) firstSight(state *leyline.SeedState) (seed, bool) {
	blueprintID := blueprintOf(e.run.id, state.GetSeedId())
	watch := alive(state.GetStage()) || state.GetStage() == stageFossilized && blueprintID != ""
	if !watch || len(e.run.seeds) >= e.config.MaxSeeds {
		return seed{}, false
	}
	born := e.run.epoch - min(e.run.epoch, state.GetAgeEpochs())
	return seed{id: state.GetSeedId(), blueprintID: blueprintID, bornEpoch: born}, true
}

// missSeed handles a seed that the packet does not mention.
func (e *evaluation) missSeed(s seed) {
	missed := e.run.epoch - s.seenEpoch
	switch {
	case s.ended:
		delete(e.run.seeds, s.id)
		return
	case s.stage == stageUnknown:
		e.missGermination(s)
		return
	case s.pending.operation == leyline.SeedOperation_SEED_OP_CULL || missed >= vanishedAfter:
		s = e.end(s, s.stage)
	}
	e.run.seeds[s.id] = s
}

// missGermination gives a seed that never showed up after the last try.
func (e *evaluation) missGermination(s seed) {
	if !s.pending.lapsed(e.run.epoch, e.config.EffectEpochs) || s.pending.attempts < e.config.MaxGerminations {
		return
	}
	s.cause = causeNoEffect
	e.run.seeds[s.id] = e.end(s, stageUnknown)
}

// end closes a seed's record with a field report and gives the host time to
// show what it can do without, or with, it.
func (e *evaluation) end(s seed, lastAlive stage) seed {
	s.ended, s.pending, s.paused = true, pendingCommand{}, false
	if s.stage != stageFossilized && s.cause != causeRestarted && s.blueprintID != "" {
		e.run.culled[s.blueprintID] = true
	}
	e.reports = append(e.reports, e.report(s, lastAlive))
	e.run.loss = e.run.loss.restart()
	return s
}

// closeFormer reports the living seeds of the run that was started over.
func (e *evaluation) closeFormer(former *run) {
	if former == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(former.seeds)) {
		if s := former.seeds[id]; !s.ended {
			s.cause = causeRestarted
			e.end(s, s.stage)
		}
	}
}
