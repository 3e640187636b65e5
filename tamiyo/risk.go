package tamiyo

import (
	"strconv"
)

// conservativeMode stops growth after something went wrong. It ends only after
// a number of calm epochs, never in the pass that entered it.
type conservativeMode struct {
	Reason  string `json:"reason"`         // empty: not conservative
	Entered uint64 `json:"entered"`        // reports evaluated by then
	Calm    uint32 `json:"calm,omitempty"` // consecutive epochs without a breach
}

func (m conservativeMode) active() bool { return m.Reason != "" }

// riskRule is one row of the risk table: a breach pauses the run's seeds and
// enters conservative mode under the rule's name.
type riskRule struct {
	name     string
	breached func(e *evaluation) bool
}

// lossSpike is the rise of the loss within an epoch that is a risk.
const lossSpike = 0.15

// riskRules is read from top to bottom; the last breach names the reason.
var riskRules = []riskRule{
	{"loss_spike", func(e *evaluation) bool {
		return e.validated && (!finite(e.loss) || e.lossDelta > lossSpike)
	}},
}

func (e *evaluation) assessRisk() {
	reason := ""
	for _, rule := range riskRules {
		if rule.breached(e) {
			reason = rule.name
			e.event(rule.name, levelWarning,
				"training_run_id", e.record.Run, "loss_delta", strconv.FormatFloat(e.lossDelta, 'f', 6, 64))
		}
	}
	mode := &e.record.Conservative
	switch {
	case reason != "":
		e.enterConservative(reason)
	case mode.active() && e.validated:
		mode.Calm++
		if mode.Calm >= e.config.HoldDownEpochs {
			e.leaveConservative()
		}
	}
}

func (e *evaluation) enterConservative(reason string) {
	mode := &e.record.Conservative
	if !mode.active() {
		mode.Entered = e.record.Evaluated
		e.event("conservative_entered", levelWarning, "training_run_id", e.record.Run, "reason", reason)
	}
	mode.Reason, mode.Calm = reason, 0
}

func (e *evaluation) leaveConservative() {
	mode := e.record.Conservative
	e.record.Conservative = conservativeMode{}
	e.event("conservative_exited", levelInfo,
		"training_run_id", e.record.Run, "reason", "stable", "previous_reason", mode.Reason,
		"duration_epochs", decimal(e.record.Evaluated-mode.Entered))
}
