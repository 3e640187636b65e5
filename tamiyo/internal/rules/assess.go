package rules

import (
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

// Effect is what a rule asks for. A stronger one includes the weaker.
type Effect int

// What follows when a rule fires.
const (
	Tell   Effect = iota // it is told
	Hold                 // no seed is begun in this pass
	Freeze               // and none comes back into the output or is kept
	Pause                // and the run's seeds are taken out of the output
	Stop                 // and the run turns conservative
)

func (e Effect) String() string { return [...]string{"tell", "hold", "freeze", "pause", "stop"}[e] }

// Finding is a rule that fired.
type Finding struct {
	Rule    string // name of its event
	Level   leyline.TelemetryLevel
	Effect  Effect
	Subject string   // id of the blueprint that it is about, or empty
	Figures []string // name and value in turn
}

// String is the finding as a decision's explanation has it.
func (f Finding) String() string {
	var text strings.Builder
	text.WriteString(f.Rule)
	if f.Subject != "" {
		text.WriteString(" of " + f.Subject)
	}
	for i := 0; i+1 < len(f.Figures); i += 2 {
		text.WriteString(" " + f.Figures[i] + "=" + f.Figures[i+1])
	}
	return text.String()
}

// Verdict is what the rules make of the facts.
type Verdict struct {
	Effect   Effect
	Reason   string // the rule that gives the command its reason; empty: none does
	Disturb  string // the rule that disturbs the run now; the mode itself does not, nor what is late
	Uneasy   bool   // such a rule fired, if only to be told
	Calm     bool   // the pass says that the run is calm
	Stops    string // the rule that turns the run conservative
	Recovers bool   // conservative mode ends
	Findings []Finding
}

// Assess goes through the table. A mode that ends in this pass holds nothing back any
// more.
func Assess(f *Facts) Verdict {
	v := assess(f)
	if !v.Recovers {
		return v
	}
	after := *f
	after.Mode.Conservative = false
	again := assess(&after)
	again.Recovers, again.Findings = true, append(again.Findings, v.Findings[len(v.Findings)-1])
	return again
}

func assess(f *Facts) Verdict {
	var v Verdict
	for i := range table {
		rule := &table[i]
		if rule.evaluator == evaluatorSteadiness { // all that could disturb lies above
			v.Calm = v.calm(f)
		}
		if !rule.ofBlueprint {
			v.apply(rule, f, nil)
			continue
		}
		for j := range f.Blueprints {
			v.apply(rule, f, &f.Blueprints[j])
		}
	}
	return v
}

// Refuses says which rule would not have a seed of this blueprint begun.
func Refuses(b Blueprint) (Finding, bool) {
	b.Begins = true
	f := Facts{Begins: true}
	var v Verdict
	for i := range table {
		if table[i].ofBlueprint {
			v.apply(&table[i], &f, &b)
		}
	}
	for _, finding := range v.Findings {
		if finding.Effect >= Hold {
			return finding, true
		}
	}
	return Finding{}, false
}

func (v *Verdict) apply(rule *rule, f *Facts, b *Blueprint) {
	begins := f.Begins
	if b != nil {
		begins = b.Begins
	}
	figures, fires := rule.fires(f, b, v)
	if !fires || rule.begins && !begins || v.has(rule.event, rule.unless, b) {
		return
	}
	finding := Finding{Rule: rule.event, Level: rule.level, Effect: rule.effect, Figures: figures}
	if b != nil {
		finding.Subject = b.ID
	}
	if rule.actsOnBegin && !begins {
		finding.Effect = Tell
	}
	v.Findings = append(v.Findings, finding)
	v.Uneasy = v.Uneasy || rule.disturbs()
	if rule.recovers {
		v.Recovers = true
	}
	if finding.Effect == Tell {
		return
	}
	if v.Reason == "" || rule.over {
		v.Reason = rule.reasonOrEvent()
	}
	if finding.Effect >= Pause && rule.disturbs() {
		v.Disturb = rule.reasonOrEvent()
	}
	if finding.Effect == Stop {
		v.Stops = rule.reasonOrEvent()
	}
	v.Effect = max(v.Effect, finding.Effect)
}

// has says whether one of two rules fired already for the same subject.
func (v *Verdict) has(event, unless string, b *Blueprint) bool {
	subject := ""
	if b != nil {
		subject = b.ID
	}
	return slices.ContainsFunc(v.Findings, func(f Finding) bool {
		return f.Subject == subject && (f.Rule == event || unless != "" && f.Rule == unless)
	})
}

// fires compares the figures with their bounds. One that is unknown fires nothing.
func (r *rule) fires(f *Facts, b *Blueprint, v *Verdict) (figures []string, fires bool) {
	for _, c := range r.when {
		figure := c.of(f, b, v)
		if !figure.Known || !c.holds(figure.Value) {
			return nil, false
		}
		if c.text == "" {
			figures = append(figures, c.figure, strconv.FormatFloat(figure.Value, 'g', 6, 64))
		}
	}
	if r.more != nil {
		figures = append(figures, r.more(f, b)...)
	}
	return figures, true
}

func (c *condition) holds(value float64) bool {
	switch c.is {
	case atLeast:
		return value >= c.bound
	case above:
		return value > c.bound
	case atMost:
		return value <= c.bound
	case below:
		return value < c.bound
	default:
		return false
	}
}

// answered says whether somebody tells of what a rule looks at, the trainer or the kernel
// library: what they are silent about is not calm.
func answered(f *Facts, event string) bool {
	silent := false
	for i := range table {
		rule := &table[i]
		if rule.reasonOrEvent() != event {
			continue
		}
		if rule.evaluator == evaluatorPolicy { // it tells a risk of what would be begun alone
			return !f.Policy.Failed
		}
		if rule.ofBlueprint {
			return !f.lives(func(b *Blueprint) bool { return b.Unknown })
		}
		silent = slices.ContainsFunc(rule.when, func(c condition) bool { return !c.of(f, nil, nil).Known })
		if !silent {
			return true
		}
	}
	return !silent
}

// calm says that nothing disturbs the run, as far as its trainer and the library told.
func (v *Verdict) calm(f *Facts) bool {
	late := f.Overdue || f.Policy.Overdue || f.lives(isUntold)
	known := f.Loss.Validated && !f.Loss.Diverged && (f.Mode.Unrest == "" || answered(f, f.Mode.Unrest))
	return !v.Uneasy && !late && known
}
