package tamiyo

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Bounds of a list in an explanation, in bytes: one travels with each command, and what a
// field report says of a seed is kept in the run's record until it ends.
const (
	longestExplanation = 1024
	longestInReport    = 256
)

// MostListed is more than a list of what was considered has room for.
const MostListed = longestExplanation / 8

// listed joins as many texts as there is room for, and says how many it left out.
func listed(texts []string, longest int) string {
	var list strings.Builder
	for i, text := range texts {
		text = text[:min(len(text), longest)]
		if list.Len()+len(text) > longest {
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

// fired are the rules that fired in this pass, with their figures: those that gave seeds up
// which would have been asked for again, and those on what there is.
func (p *plan) fired(v rules.Verdict) []string {
	findings := slices.Concat(p.refusals, v.Findings)
	texts := make([]string, len(findings))
	for i, finding := range findings {
		texts[i] = finding.String()
	}
	return texts
}

// explain says in each command and in each report which rules fired, also in those that were
// made before the rules were asked.
func explain(commands []*leyline.AdaptationCommand, reports []*leyline.FieldReport, fired []string) {
	if len(fired) == 0 {
		return
	}
	for _, command := range commands {
		command.Annotations["rules"] = listed(fired, longestExplanation)
	}
	for _, report := range reports {
		note(report, "rules", listed(fired, longestInReport))
	}
}

// alternatives are the blueprints that were considered, with what each promised or why
// it was not to be begun.
func (p *plan) alternatives() string {
	texts := make([]string, len(p.considered))
	for i, c := range p.considered {
		texts[i] = c.String()
	}
	return listed(texts, longestExplanation)
}

// beside is what was considered at the slot of a seed that is begun, as its record has room
// for.
func (p *plan) beside(begun choice) string {
	var texts []string
	for _, c := range p.considered {
		if c.slot == begun.slot && isWord(c.candidate.BlueprintID) {
			texts = append(texts, c.String())
		}
	}
	return listed(texts, longestInReport)
}

// explanation is the event that says how the pass came to what it did, or to what it
// left undone. A pass in which nothing was at stake has none, nor has one that begins
// nothing of which all was told already.
func (e *evaluation) explanation() *leyline.TelemetryEvent {
	held := e.verdict.Effect >= rules.Hold && e.plan.begins()
	news := e.record.explains(&e.plan, e.policy, e.state.Slots)
	if len(e.commands) == 0 && !held && !news && e.verdict.Effect < rules.Freeze {
		return nil
	}
	reason := e.verdict.Reason
	if len(e.commands) == 0 && !held {
		reason = cmp.Or(reason, e.plan.whyUnbegun())
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
		{"commands", listed(commands, longestExplanation)},
		{"rules", listed(e.plan.fired(e.verdict), longestExplanation)},
		{"considered", e.plan.alternatives()}, {"policy_asked", e.deciding.wishes()}, {"reason", reason},
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

// explains says whether something is to be told of what was looked at and not begun that was not
// told already, and remembers it. What changes with each report, such as a policy's worth, is no
// news, nor is it that reports look at other slots in turn.
func (r *Record) explains(p *plan, policy string, slots map[string][]int) (news bool) {
	maps.DeleteFunc(r.Unbegun, func(name, _ string) bool { _, there := slots[name]; return !there })
	said := make(map[string][]string)
	for _, c := range p.considered {
		said[c.slot] = append(said[c.slot], string(joined([]string{c.candidate.BlueprintID, c.refusal})))
	}
	for _, begun := range p.seeds {
		delete(r.Unbegun, begun.slot)
		delete(said, begun.slot)
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		texts := slices.Concat(said[name], []string{policy})
		slices.Sort(texts)
		told, known := r.Unbegun[name]
		if now := digest(string(joined(texts))); now != told && (known || len(r.Unbegun) < maxUnbegun) {
			if r.Unbegun == nil {
				r.Unbegun = make(map[string]string)
			}
			r.Unbegun[name], news = now, true
		}
	}
	return news
}

// whyUnbegun is why nothing is begun of what was looked at; empty: nothing was.
func (p *plan) whyUnbegun() string {
	switch {
	case len(p.considered) == 0:
		return ""
	case p.waits:
		return "policy_waits"
	case p.unknown != nil:
		return "seed_candidates_unavailable"
	default:
		return starvedOfBlueprints
	}
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
	return listed(texts, longestExplanation)
}
