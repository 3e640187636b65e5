package tamiyo

import (
	"strconv"
)

// conservativeMode stops growth after something went wrong. It ends only after
// a number of calm epochs, never in the pass that entered it.
type conservativeMode struct {
	active  bool
	reason  string
	entered uint32 // epoch
	calm    uint32 // consecutive epochs without a breach
}

// riskRule is one row of the risk table: a breach pauses the run's seeds and
// enters conservative mode under the rule's name.
type riskRule struct {
	name     string
	breached func(e *evaluation) bool
}

// riskRules is read from top to bottom; the last breach names the reason.
var riskRules = []riskRule{
	{"loss_spike", func(e *evaluation) bool {
		return e.validated && (!finite(e.loss) || e.lossDelta > e.config.LossSpike)
	}},
}

func (e *evaluation) assessRisk() {
	reason := ""
	for _, rule := range riskRules {
		if rule.breached(e) {
			reason = rule.name
			e.event(rule.name, levelWarning,
				"training_run_id", e.run.id, "loss_delta", strconv.FormatFloat(e.lossDelta, 'f', 6, 64))
		}
	}
	mode := &e.run.conservative
	switch {
	case reason != "":
		e.enterConservative(reason)
	case mode.active && e.validated:
		mode.calm++
		if mode.calm >= e.config.HoldDownEpochs {
			e.leaveConservative()
		}
	}
}

func (e *evaluation) enterConservative(reason string) {
	mode := &e.run.conservative
	if !mode.active {
		mode.entered = e.run.epoch
		e.event("conservative_entered", levelWarning, "training_run_id", e.run.id, "reason", reason)
	}
	mode.active, mode.reason, mode.calm = true, reason, 0
}

func (e *evaluation) leaveConservative() {
	mode := e.run.conservative
	e.run.conservative = conservativeMode{}
	e.event("conservative_exited", levelInfo,
		"training_run_id", e.run.id, "reason", "stable", "previous_reason", mode.reason,
		"duration_epochs", strconv.FormatUint(uint64(e.run.epoch-mode.entered), 10))
}
