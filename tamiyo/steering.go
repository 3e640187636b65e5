package tamiyo

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	opNone      = leyline.SeedOperation_SEED_OP_UNKNOWN
	opGerminate = leyline.SeedOperation_SEED_OP_GERMINATE
	opFossilize = leyline.SeedOperation_SEED_OP_FOSSILIZE
	opCull      = leyline.SeedOperation_SEED_OP_CULL
)

// Why a command was given, as in the annotation risk_reason and in reports.
const (
	causePolicy     = "policy"
	causeStall      = "validation_stalled"
	causeGain       = "seed_improved"
	causeRegression = "seed_regressed"
	causeAge        = "seed_stuck"
	causeNoEffect   = "germination_without_effect"
	causeRestarted  = "run_restarted"
)

// steerSeeds gives each living seed at most one command.
func (e *evaluation) steerSeeds() {
	for _, id := range slices.Sorted(maps.Keys(e.run.seeds)) {
		if s := e.run.seeds[id]; !s.ended && s.stage != stageUnknown {
			e.run.seeds[id] = e.steer(s)
		}
	}
}

// steer looks at what is wrong before it looks at what is well.
func (e *evaluation) steer(s seed) seed {
	if s.pending.waits() && !s.pending.lapsed(e.run.epoch, e.config.EffectEpochs) {
		return s
	}
	conservative := e.run.conservative.active
	operation, cause := e.verdict(s)
	switch {
	case operation == opCull:
		return e.order(s, opCull, cause)
	case conservative && !s.paused && pausable(s.stage):
		return e.pause(s)
	case !conservative && s.paused:
		return e.resume(s)
	case !conservative && operation == opFossilize:
		return e.order(s, opFossilize, cause)
	default:
		return s
	}
}

// verdict judges a seed by its record. A seed whose blueprint is not known
// cannot be commanded: its host refuses seed commands without one.
func (e *evaluation) verdict(s seed) (leyline.SeedOperation, string) {
	improved := s.improving >= e.config.ProbationEpochs
	switch {
	case s.blueprintID == "":
		return opNone, ""
	case s.regressing >= e.config.RegressionEpochs:
		return opCull, causeRegression
	case improved:
		return opFossilize, causeGain
	case s.age >= e.config.MaxAgeEpochs && !s.paused:
		return opCull, causeAge
	default:
		return opNone, ""
	}
}

func (e *evaluation) order(s seed, operation leyline.SeedOperation, cause string) seed {
	if s.pending.operation != operation {
		s.pending = pendingCommand{operation: operation}
	}
	s.pending.epoch = e.run.epoch
	s.pending.attempts++
	if operation == opCull {
		s.cause = cause
	}
	command := e.seedCommand(s, operation, cause)
	if operation == opGerminate {
		s.germination = command.GetCommandId()
	}
	e.issue(command, s.blueprintID)
	return s
}

func (e *evaluation) pause(s seed) seed {
	s.paused = true
	e.pausedBy = e.run.conservative.reason
	e.issue(e.pauseCommand(s, e.pausedBy), s.blueprintID)
	return s
}

func (e *evaluation) resume(s seed) seed {
	s.paused = false
	command := e.pauseCommand(s, causePolicy)
	command.Annotations["resume"] = "true"
	e.issue(command, s.blueprintID)
	return s
}

// considerGermination asks for one new seed when the host has stopped learning
// and nothing grows yet, and asks again for one that did not show.
func (e *evaluation) considerGermination(ctx context.Context) {
	if e.run.conservative.active {
		return
	}
	e.repeatGerminations()
	stalled := e.validated && e.run.loss.stalled >= e.config.Patience
	if !stalled || e.run.growing() || len(e.run.seeds) >= e.config.MaxSeeds {
		return
	}
	if candidate, found := e.candidate(ctx); found {
		e.germinate(candidate)
	}
}

func (e *evaluation) repeatGerminations() {
	for _, id := range slices.Sorted(maps.Keys(e.run.seeds)) {
		s := e.run.seeds[id]
		if !s.ended && s.stage == stageUnknown && s.pending.lapsed(e.run.epoch, e.config.EffectEpochs) {
			e.run.seeds[id] = e.order(s, opGerminate, causeStall)
		}
	}
}

func (e *evaluation) germinate(candidate Candidate) {
	s := seed{
		id:          seedID(e.run.id, e.run.epoch, candidate.BlueprintID),
		blueprintID: candidate.BlueprintID,
		bornEpoch:   e.run.epoch,
		seenEpoch:   e.run.epoch,
	}
	e.chosen = &candidate
	e.run.seeds[s.id] = e.order(s, opGerminate, causeStall)
}

// candidate chooses the largest safe blueprint that has not failed in this run.
func (e *evaluation) candidate(ctx context.Context) (Candidate, bool) {
	candidates, err := e.config.Candidates(ctx)
	if err != nil {
		e.event("seed_candidates_unavailable", levelWarning, "training_run_id", e.run.id, "reason", err.Error())
		return Candidate{}, false
	}
	usable := slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool {
		return !c.safe() || e.run.culled[c.BlueprintID]
	})
	if len(usable) == 0 {
		e.reportStarved()
		return Candidate{}, false
	}
	e.run.starved = false
	return slices.MinFunc(usable, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.ParameterCount, a.ParameterCount), cmp.Compare(a.BlueprintID, b.BlueprintID))
	}), true
}

func (c Candidate) safe() bool {
	return c.BlueprintID != "" && c.Tier == leyline.BlueprintTier_BLUEPRINT_TIER_SAFE &&
		!c.ApprovalRequired && !c.QuarantineOnly && c.ParameterCount > 0
}

// reportStarved speaks once per famine: it lasts until the forge is done.
func (e *evaluation) reportStarved() {
	if e.run.starved {
		return
	}
	e.run.starved = true
	e.event("no_seed_candidates", levelWarning,
		"training_run_id", e.run.id, "packet_id", e.state.GetPacketId())
}
