package tamiyo

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// stage is a seed's stage as its trainer has applied it. Records show its name.
type stage leyline.SeedLifecycleStage

const (
	stageUnknown      = stage(leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN)
	stageDormant      = stage(leyline.SeedLifecycleStage_SEED_STAGE_DORMANT)
	stageGerminated   = stage(leyline.SeedLifecycleStage_SEED_STAGE_GERMINATED)
	stageTraining     = stage(leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)
	stageShadowing    = stage(leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING)
	stageProbationary = stage(leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY)
	stageFossilized   = stage(leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED)
	stageCulled       = stage(leyline.SeedLifecycleStage_SEED_STAGE_CULLED)
	stageResetting    = stage(leyline.SeedLifecycleStage_SEED_STAGE_RESETTING)
)

// lastStage is the highest stage that there is.
const lastStage = stage(leyline.SeedLifecycleStage_SEED_STAGE_TERMINATED)

const stagePrefix = "SEED_STAGE_"

// MarshalText is the stage's name without its prefix.
func (s stage) MarshalText() ([]byte, error) {
	name, known := leyline.SeedLifecycleStage_name[int32(s)]
	if !known {
		return nil, fmt.Errorf("unknown stage %d", s)
	}
	return []byte(strings.TrimPrefix(name, stagePrefix)), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *stage) UnmarshalText(text []byte) error {
	value, known := leyline.SeedLifecycleStage_value[stagePrefix+string(text)]
	if !known {
		return fmt.Errorf("unknown stage %.32q", text)
	}
	*s = stage(value)
	return nil
}

// alive: in the host and not yet decided on.
func alive(s stage) bool { return s >= stageGerminated && s <= stageProbationary }

// judged: the seed's full effect is in the validation figures.
func judged(s stage) bool { return s == stageShadowing || s == stageProbationary }

// culled: a gate has judged the seed.
func culled(s stage) bool { return s >= stageCulled && s <= stageResetting }

// pausable: the seed runs in the host's forward pass.
func pausable(s stage) bool { return s >= stageTraining && s <= stageProbationary }

// seed is what the controller remembers of one seed. Born, Seen and
// Pending.Since are counts of reports evaluated.
type seed struct {
	ID        string `json:"id"`
	Slot      string `json:"slot,omitempty"`
	Blueprint string `json:"blueprint,omitempty"`
	Work      int64  `json:"work,omitempty"` // what it costs: multiply-adds of a pass of one example, 0 when nobody knows
	origin
	Stage    stage    `json:"stage,omitempty"` // last seen; UNKNOWN until the first sight
	Born     uint64   `json:"born"`
	Seen     uint64   `json:"seen"`
	Age      uint32   `json:"lived,omitempty"` // reports that had it alive in the host, and not paused
	Evidence evidence `json:"evidence,omitzero"`
	Measured bool     `json:"measured,omitempty"` // its trainer has told how the host does with it, if only in no number
	streaks
	Pending pending `json:"pending,omitzero"`
	Cause   string  `json:"cause,omitempty"`   // why we asked for its end
	Failure string  `json:"failure,omitempty"` // why it cannot be attached, through no fault of its kernel
	Paused  bool    `json:"paused,omitempty"`  // what we asked for last
	Hold    hold    `json:"hold,omitzero"`
	Ended   bool    `json:"ended,omitempty"` // reported; kept while the trainer lists it
}

// origin is how a seed was asked for, and is asked for again.
type origin struct {
	Germination string `json:"germination,omitempty"` // id of the GERMINATE command; empty when another process sent it
	Blend       string `json:"blend,omitempty"`       // empty leaves it to Kasmina
	Considered  string `json:"considered,omitempty"`  // what stood to choose at its slot, it too
	Policy      string `json:"policy,omitempty"`      // that was in force then; empty: the rules alone
}

// begunBy is the policy that what a seed comes to is told of. Of one that somebody else began,
// that is the one in force.
func (o origin) begunBy(inForce string) string {
	if o.Germination == "" {
		return inForce
	}
	return cmp.Or(o.Policy, DefaultPolicyVersion)
}

// inForce is a policy's version as an origin has it.
func inForce(version string) string {
	if version == DefaultPolicyVersion {
		return ""
	}
	return version
}

// streaks are how long a seed has done well, or badly.
type streaks struct {
	Improving  uint32 `json:"improving,omitempty"`  // consecutive epochs of gain in PROBATIONARY
	Regressing uint32 `json:"regressing,omitempty"` // consecutive epochs of loss while judged
}

// awaited: asked for and not yet seen.
func (s seed) awaited() bool { return !s.Ended && s.Stage == stageUnknown }

// pending is the one command of a seed whose effect is awaited.
type pending struct {
	Operation operation `json:"operation"`
	Since     uint64    `json:"since"`
	At        int64     `json:"at_ms"` // the same as a time, since 1970
	Attempts  int       `json:"attempts"`
}

// operation is a seed operation that shows its name in records.
type operation leyline.SeedOperation

const (
	opNone      = operation(leyline.SeedOperation_SEED_OP_UNKNOWN)
	opGerminate = operation(leyline.SeedOperation_SEED_OP_GERMINATE)
	opFossilize = operation(leyline.SeedOperation_SEED_OP_FOSSILIZE)
	opCull      = operation(leyline.SeedOperation_SEED_OP_CULL)
)

const operationPrefix = "SEED_OP_"

// MarshalText is the operation's name without its prefix.
func (o operation) MarshalText() ([]byte, error) {
	name, known := leyline.SeedOperation_name[int32(o)]
	if !known {
		return nil, fmt.Errorf("unknown operation %d", o)
	}
	return []byte(strings.TrimPrefix(name, operationPrefix)), nil
}

// UnmarshalText reads what MarshalText writes of an operation that the
// controller asks for.
func (o *operation) UnmarshalText(text []byte) error {
	for _, known := range []operation{opNone, opGerminate, opFossilize, opCull} {
		if leyline.SeedOperation_name[int32(known)] == operationPrefix+string(text) {
			*o = known
			return nil
		}
	}
	return fmt.Errorf("unknown operation %.32q", text)
}

// blamed says whether the end of a seed speaks against its blueprint: it was judged
// by what it did in the host or by its kernel. A seed may also go for what it cannot
// help, as when another's rollback takes it along.
func (s seed) blamed() bool {
	switch {
	case s.Cause == causeNoEffect, s.Failure != "", spares(s.Cause):
		return false
	case s.Cause == causeAsked: // a policy's opinion is no finding
		return s.Evidence.Worse
	}
	return s.Cause != "" || s.Measured || culled(s.Stage)
}

func (p pending) waits() bool { return p.Operation != opNone }

// A command is given up on after so many reports and Config.EffectTime.
const effectEpochs = 3

// lapsed says whether the effect of a seed's command should have shown: some reports
// and some time ago, as reports may follow each other faster than a kernel can be made.
// The name of a seed that could not be attached is under embargo first, and so may be
// that of one that came to nothing once.
func (e *evaluation) lapsed(s seed) bool {
	atLeast := e.config.EffectTime
	if s.awaited() && (s.Failure != "" || s.Pending.Attempts > 1) {
		atLeast += e.config.Embargo
	}
	p := s.Pending
	return p.waits() && passed(e, p.Since, p.At, atLeast)
}

// passed says whether some reports and so much time went by.
func passed(e *evaluation, since uint64, at int64, atLeast time.Duration) bool {
	return e.record.Evaluated-since >= effectEpochs && e.now.UnixMilli()-at >= atLeast.Milliseconds()
}

// observe takes the seed's state in the report that is evaluated.
func (s seed) observe(state *leyline.SeedState, evaluated uint64, c *Config) seed {
	s.Stage, s.Seen, s.Failure = stage(state.GetStage()), evaluated, ""
	if alive(s.Stage) && !rests(state) {
		s.Age++
	}
	s.Measured = s.Measured || compared(state)
	if measured := evidenceOf(state, c); measured.Known {
		s.Evidence = measured
		s.Improving = streak(s.Improving, s.Stage == stageProbationary && measured.Better)
		s.Regressing = streak(s.Regressing, judged(s.Stage) && measured.Worse)
	}
	if s.Pending.Operation == opGerminate && alive(s.Stage) {
		s.Pending = pending{}
	}
	return s
}

func streak(count uint32, holds bool) uint32 {
	if holds {
		return count + 1
	}
	return 0
}

// attachFailure reads why a seed could not be attached; false when it says no
// such thing.
func attachFailure(state *leyline.SeedState) (trainer.AttachFailure, bool) {
	metrics := state.GetMetrics()
	if metrics[trainer.MetricAttachFailed] < 1 {
		return trainer.AttachUnspecified, false
	}
	reason := metrics[trainer.MetricAttachReason]
	if !(reason >= 0 && reason <= float32(trainer.AttachNoRoom)) {
		return trainer.AttachUnspecified, true
	}
	return trainer.AttachFailure(reason), true
}
