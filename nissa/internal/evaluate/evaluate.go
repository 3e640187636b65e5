// Package evaluate turns what is heard on the bus into observations of rules: for each packet
// [Engine.Observe] says which conditions were looked at, of whom, and whether they hold. It keeps
// what conditions look back at, and no more.
package evaluate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

const (
	maxLabel  = 128 // bytes of a source, or of the text of a label
	maxDetail = 512 // bytes of what is said of an observation
)

// instanceIndicator is what a packet's health block says of which of several senders of one
// source it comes from, runIndicator of which run it tells.
const (
	instanceIndicator = "instance"
	runIndicator      = "training_run_id"
)

// Finding is an observation of a rule for one subject, or for all that are alike by the labels by which the rule
// tells them apart.
type Finding struct {
	Rule        *rules.Rule
	Subject     alert.Subject
	Observation alert.Observation
	OfAllAlike  bool
}

// Engine looks at packets. It belongs to one goroutine.
type Engine struct {
	byMetric map[string][]*rules.Rule
	families []*rules.Rule
	byEvent  map[string][]*rules.Rule
	byClear  map[string][]*rules.Rule
	wanted   map[string][]*rules.Rule // who asks for the last value of a metric
	memory   *memory
	faults   int
}

// New looks for what the rules name.
func New(file *rules.File) *Engine {
	e := &Engine{
		byMetric: map[string][]*rules.Rule{}, byEvent: map[string][]*rules.Rule{}, byClear: map[string][]*rules.Rule{},
		wanted: map[string][]*rules.Rule{}, memory: newMemory(),
	}
	for i := range file.Rules {
		e.add(&file.Rules[i])
	}
	return e
}

func (e *Engine) add(rule *rules.Rule) {
	if _, is := rule.Family(); is {
		e.families = append(e.families, rule)
	} else if rule.Metric != "" {
		e.byMetric[rule.Metric] = append(e.byMetric[rule.Metric], rule)
	}
	if rule.Event != "" {
		e.byEvent[rule.Event] = append(e.byEvent[rule.Event], rule)
	}
	for _, event := range rule.Clear {
		e.byClear[event] = append(e.byClear[event], rule)
	}
	if rule.When == nil {
		return
	}
	for _, metric := range rule.When.Metrics() {
		e.wanted[metric] = append(e.wanted[metric], rule)
	}
}

// Faults is how many conditions could not be answered.
func (e *Engine) Faults() int { return e.faults }

// told is what a packet says once for all that is in it.
type told struct {
	source, instance, run string
	at, now               time.Time
}

func (t told) holding(value float64, detail string) alert.Observation {
	return alert.Observation{At: t.at, Heard: t.now, Holds: true, Value: value, Detail: detail}
}

// labels are those of what is in the packet, which is of the packet's run where it names none.
func (t told) labels(attributes map[string]string) map[string]string {
	if t.run == "" || attributes[runIndicator] != "" {
		return attributes
	}
	return with(attributes, runIndicator, t.run)
}

// Observe looks at a packet that came now.
func (e *Engine) Observe(packet *leyline.TelemetryPacket, now time.Time) []Finding {
	indicators := packet.GetSystemHealth().GetIndicators()
	t := told{
		source: bounded(packet.GetSourceSubsystem(), maxLabel), instance: bounded(indicators[instanceIndicator], maxLabel),
		run: bounded(indicators[runIndicator], maxLabel), at: now, now: now,
	}
	if stamp := packet.GetTimestamp(); stamp.IsValid() && stamp.AsTime().Before(now) {
		t.at = stamp.AsTime()
	}
	for _, point := range packet.GetMetrics() {
		e.remember(t, point)
	}
	var found []Finding
	for _, point := range packet.GetMetrics() {
		found = e.point(found, t, point)
	}
	for _, event := range packet.GetEvents() {
		found = e.event(found, t, event)
	}
	return found
}

// remember keeps the last value of a metric that conditions ask for.
func (e *Engine) remember(t told, point *leyline.MetricPoint) {
	for _, rule := range e.wanted[point.GetName()] {
		e.memory.setLast(subject(rule, t, t.labels(point.GetAttributes()), "").ID(), point.GetName(), point.GetValue(), t.now)
	}
}

func (e *Engine) point(found []Finding, t told, point *leyline.MetricPoint) []Finding {
	name := point.GetName()
	for _, rule := range e.byMetric[name] {
		found = e.look(found, rule, t, point, "")
	}
	for _, rule := range e.families {
		prefix, _ := rule.Family()
		if rest, belongs := strings.CutPrefix(name, prefix); belongs {
			found = e.look(found, rule, t, point, rest)
		}
	}
	return found
}

func (e *Engine) look(found []Finding, rule *rules.Rule, t told, point *leyline.MetricPoint, rest string) []Finding {
	labels := t.labels(point.GetAttributes())
	if !rule.Concerns(t.source, labels) {
		return found
	}
	of := subject(rule, t, labels, rest)
	env := rules.Env{Source: t.source, Name: point.GetName(), Value: point.GetValue(), Labels: labels}
	id := of.ID()
	asked := id
	if rest != "" {
		asked = subject(rule, t, labels, "").ID() // what is remembered belongs to all of a family
	}
	holds, value := e.answer(rule, id, asked, env, t)
	seen := t.holding(value, bounded(fmt.Sprintf("%s is %.6g", point.GetName(), point.GetValue()), maxDetail))
	seen.Holds = holds
	return append(found, Finding{Rule: rule, Subject: of, Observation: seen})
}

// answer asks a rule's condition about the observations of id and the last values of asked. What cannot
// be answered does not hold, and is counted.
func (e *Engine) answer(rule *rules.Rule, id, asked string, env rules.Env, t told) (holds bool, value float64) {
	if rule.When == nil {
		return rule.Absent == 0, env.Value
	}
	if env.Labels == nil {
		env.Labels = map[string]string{}
	}
	window := rule.When.Window()
	if window > 0 {
		e.memory.add(id, t.at, t.now, env.Value, window)
	}
	e.memory.fill(&env, id, asked, t.at)
	holds, err := rule.When.Holds(env)
	if err != nil {
		e.faults++
		return false, env.Value
	}
	return holds, env.Value
}

// event looks at an event.
func (e *Engine) event(found []Finding, t told, event *leyline.TelemetryEvent) []Finding {
	name := event.GetDescription()
	raised, cleared := e.byEvent[name], e.byClear[name]
	if len(raised)+len(cleared) == 0 {
		return found
	}
	labels := t.labels(event.GetAttributes())
	for _, rule := range cleared {
		over := Finding{Rule: rule, Observation: alert.Observation{At: t.at, Heard: t.now, Detail: name}}
		if rule.Metric != "" { // who tells that it is over need not be who measured
			over.Subject, over.OfAllAlike = subject(rule, told{}, labels, ""), true
			found = append(found, over)
		} else if len(rule.Sources) == 0 || slices.Contains(rule.Sources, t.source) {
			over.Subject = subject(rule, t, labels, "")
			found = append(found, over)
		}
	}
	for _, rule := range raised {
		if !rule.Concerns(t.source, labels) {
			continue
		}
		of := subject(rule, t, labels, "")
		env := rules.Env{Source: t.source, Name: name, Value: 1, Level: levelOf(event), Labels: labels}
		if holds, value := e.answer(rule, of.ID(), of.ID(), env, t); holds { // another event is no recovery
			found = append(found, Finding{Rule: rule, Subject: of, Observation: t.holding(value, detail(name, labels))})
		}
	}
	return found
}

func with(labels map[string]string, name, text string) map[string]string {
	more := make(map[string]string, len(labels)+1)
	maps.Copy(more, labels)
	more[name] = text
	return more
}

func levelOf(event *leyline.TelemetryEvent) string {
	return strings.ToLower(strings.TrimPrefix(event.GetLevel().String(), "TELEMETRY_LEVEL_"))
}

// detail is an event in words: its name, and its attributes by name.
func detail(name string, labels map[string]string) string {
	said, length := []string{name}, len(name)
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if length += len(label) + len(labels[label]); length > 2*maxDetail {
			break
		}
		said = append(said, label+"="+labels[label])
	}
	return bounded(strings.Join(said, " "), maxDetail)
}

// subject is of whom a rule looks at something.
func subject(rule *rules.Rule, t told, labels map[string]string, rest string) alert.Subject {
	s := alert.Subject{Rule: rule.Name, Source: t.source}
	set := func(name, text string) {
		if text == "" {
			return
		}
		if s.Labels == nil {
			s.Labels = make(map[string]string, len(rule.By)+1)
		}
		s.Labels[name] = bounded(text, maxLabel)
	}
	set(instanceIndicator, t.instance)
	set("metric", rest)
	for _, name := range rule.By {
		set(name, labels[name])
	}
	return s
}

// bounded cuts a text, and makes it one line of valid UTF-8.
func bounded(text string, most int) string {
	if len(text) > most {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.Clone(text))
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
