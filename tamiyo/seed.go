package tamiyo

import (
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

type stage = leyline.SeedLifecycleStage

const (
	stageUnknown      = leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	stageDormant      = leyline.SeedLifecycleStage_SEED_STAGE_DORMANT
	stageGerminated   = leyline.SeedLifecycleStage_SEED_STAGE_GERMINATED
	stageTraining     = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	stageShadowing    = leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	stageProbationary = leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	stageFossilized   = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
)

// alive: in the host and not yet decided on.
func alive(s stage) bool { return s >= stageGerminated && s <= stageProbationary }

// judged: the seed's full effect is in the validation figures.
func judged(s stage) bool { return s == stageShadowing || s == stageProbationary }

// pausable: the seed runs in the host's forward pass.
func pausable(s stage) bool { return s >= stageTraining && s <= stageProbationary }

// seed is what the controller remembers of one seed.
type seed struct {
	id          string
	blueprintID string
	germination string // id of the GERMINATE command; empty when another process sent it
	stage       stage  // last seen; UNKNOWN until the first sight
	bornEpoch   uint32
	seenEpoch   uint32
	age         uint32 // epochs
	evidence    evidence
	improving   uint32 // consecutive epochs of gain in PROBATIONARY
	regressing  uint32 // consecutive epochs of loss while judged
	pending     pendingCommand
	cause       string // why we asked for its end
	paused      bool
	ended       bool
}

// pendingCommand is the one command of a seed whose effect is awaited.
type pendingCommand struct {
	operation leyline.SeedOperation
	epoch     uint32
	attempts  int
}

func (p pendingCommand) waits() bool { return p.operation != leyline.SeedOperation_SEED_OP_UNKNOWN }

// lapsed reports whether the effect should have shown by epoch.
func (p pendingCommand) lapsed(epoch, effectEpochs uint32) bool {
	return p.waits() && epoch-p.epoch >= effectEpochs
}

// observe takes the seed's state at epoch.
func (s seed) observe(state *leyline.SeedState, epoch uint32, c Config) seed {
	s.stage, s.seenEpoch = state.GetStage(), epoch
	s.age = max(state.GetAgeEpochs(), epoch-s.bornEpoch)
	if measured := evidenceOf(state); measured.known {
		s.evidence = measured
		s.improving = streak(s.improving, s.stage == stageProbationary && measured.improves(c))
		s.regressing = streak(s.regressing, judged(s.stage) && measured.regresses(c))
	}
	if s.pending.operation == leyline.SeedOperation_SEED_OP_GERMINATE && alive(s.stage) {
		s.pending = pendingCommand{}
	}
	return s
}

func streak(count uint32, holds bool) uint32 {
	if holds {
		return count + 1
	}
	return 0
}

// seedID names a seed after its run, epoch and blueprint, so that the blueprint
// of a seed is known again after a restart: no Leyline message tells it.
func seedID(runID string, epoch uint32, blueprintID string) string {
	return seedPrefix(runID) + strconv.FormatUint(uint64(epoch), 10) + "-" + blueprintID
}

func seedPrefix(runID string) string { return "seed-" + runID + "-" }

// blueprintOf reads the blueprint out of a seedID; empty for other names.
func blueprintOf(runID, id string) string {
	rest, ours := strings.CutPrefix(id, seedPrefix(runID))
	number, blueprintID, named := strings.Cut(rest, "-")
	if _, err := strconv.ParseUint(number, 10, 32); !ours || !named || err != nil {
		return ""
	}
	return blueprintID
}
