package tamiyo

import (
	"maps"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// run is what the controller remembers of one training run. An evaluation
// works on a copy, which takes the original's place when it succeeded.
type run struct {
	id        string
	seenAt    time.Time
	epoch     uint32
	timestamp uint64
	packetID  string
	answer    Decision

	loss         lossTrend
	conservative conservativeMode
	seeds        map[string]seed
	culled       map[string]bool // blueprints that failed in this run
	starved      bool            // no_seed_candidates was reported
}

// place is where a state packet stands in the sequence of its run.
type place int

const (
	placeNext place = iota
	placeRepeated
	placeStale
	placeRestarted
)

// place tells a late packet from a run that was started over under its old
// name: only the latter has a lower epoch and a later clock.
func (r *run) place(state *leyline.SystemStatePacket) place {
	if r == nil || state.GetCurrentEpoch() > r.epoch {
		return placeNext
	}
	if r.timestamp != 0 && state.GetTimestampNs() > r.timestamp && state.GetCurrentEpoch() < r.epoch {
		return placeRestarted
	}
	if state.GetCurrentEpoch() == r.epoch && state.GetPacketId() == r.packetID {
		return placeRepeated
	}
	return placeStale
}

// next returns a copy of r that stands at state; r may be nil.
func (r *run) next(id string, state *leyline.SystemStatePacket, now time.Time) *run {
	next := &run{id: id, seeds: map[string]seed{}, culled: map[string]bool{}}
	if r != nil {
		*next = *r
		next.seeds, next.culled = maps.Clone(r.seeds), maps.Clone(r.culled)
	}
	next.seenAt = now
	next.epoch, next.timestamp, next.packetID = state.GetCurrentEpoch(), state.GetTimestampNs(), state.GetPacketId()
	next.answer = Decision{}
	return next
}

// growing reports whether a seed is on its way: alive in the host or asked for.
func (r *run) growing() bool {
	for _, s := range r.seeds {
		if !s.ended {
			return true
		}
	}
	return false
}
