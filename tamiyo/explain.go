package tamiyo

import (
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
	"github.com/esper-lite/weatherlight/telemetry"
)

// longestExplanation bounds a list in an explanation, in bytes: it travels with each
// command.
const longestExplanation = 1024

// MostListed is more than a list of what was considered has room for.
const MostListed = longestExplanation / 8

// listed joins as many texts as an explanation has room for, and says how many it left
// out.
func listed(texts []string) string {
	var list strings.Builder
	for i, text := range texts {
		if list.Len()+len(text) > longestExplanation {
			list.WriteString("; and " + strconv.Itoa(len(texts)-i) + " more")
			break
		}
		if i > 0 {
			list.WriteString("; ")
		}
		list.WriteString(text)
	}
	return strings.ToValidUTF8(list.String(), "?")
}

// fired are the rules that fired in this pass, with their figures.
func fired(v rules.Verdict) string {
	texts := make([]string, len(v.Findings))
	for i, finding := range v.Findings {
		texts[i] = finding.String()
	}
	return listed(texts)
}

// alternatives are the blueprints that were considered, with what each promised or why
// it was not to be begun.
func (p *plan) alternatives() string {
	texts := make([]string, len(p.considered))
	for i, c := range p.considered {
		texts[i] = c.String()
	}
	return listed(texts)
}

// explanation is the event that says how the pass came to what it did, or to what it
// left undone. A pass in which nothing was at stake has none.
func (e *evaluation) explanation() *leyline.TelemetryEvent {
	held := e.verdict.Effect >= rules.Hold && e.plan.begins()
	if len(e.commands) == 0 && !held && e.verdict.Effect < rules.Pause {
		return nil
	}
	commands := make([]string, len(e.commands))
	for i, command := range e.commands {
		commands[i] = operationName(command) + " " + command.GetTargetSeedId() + " for " + command.GetAnnotations()["risk_reason"]
	}
	pairs := []string{
		"training_run_id", e.record.Run, "policy_version", e.policy, "effect", e.verdict.Effect.String(),
		"stalled_epochs", decimal(uint64(e.record.Loss.Stalled)),
	}
	for _, pair := range [][2]string{
		{"commands", listed(commands)}, {"rules", fired(e.verdict)}, {"considered", e.plan.alternatives()}, {"reason", e.verdict.Reason},
	} {
		if pair[1] != "" {
			pairs = append(pairs, pair[0], pair[1])
		}
	}
	if held {
		pairs = append(pairs, "held", e.plan.held())
	}
	return telemetry.Event("decision_explained", levelInfo, pairs...)
}

// held are the seeds that were not begun because a rule held.
func (p *plan) held() string {
	var texts []string
	for _, planned := range p.seeds {
		texts = append(texts, planned.candidate.BlueprintID+" at "+planned.slot)
	}
	for _, s := range p.repeats {
		texts = append(texts, s.Blueprint+" at "+s.Slot)
	}
	return listed(texts)
}
