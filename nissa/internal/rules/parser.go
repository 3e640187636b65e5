package rules

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Bounds of a file, and what is meant where it says nothing.
const (
	maxRules      = 1000
	maxReceivers  = 64
	maxBy         = 8
	maxText       = 1024
	maxCount      = 10_000
	maxPerMinute  = 10_000
	leastWindow   = time.Hour
	longestWindow = 90 * 24 * time.Hour
)

var (
	defaultGrouping = Grouping{Wait: 200 * time.Millisecond, Interval: 30 * time.Second, Repeat: 4 * time.Hour}
	wellNamed       = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,63}$`)
)

// parser collects what is wrong while it makes a file of what is written.
type parser struct {
	tree    *yaml.Node
	resolve func(string) string
	alone   bool // there are no files beside it
	faults  FaultsError
}

// fault notes what is wrong at a path of the file.
func (p *parser) fault(path []any, format string, arguments ...any) {
	line := lineOf(p.tree, path...)
	p.faults = append(p.faults, fmt.Sprintf("line %d: %s", line, fmt.Sprintf(format, arguments...)))
}

func at(path []any, more ...any) []any { return append(slices.Clone(path), more...) }

func (p *parser) file(d *document) *File {
	file := &File{Grouping: Grouping{
		Wait:     cmp.Or(p.span([]any{"grouping", "wait"}, d.Grouping.Wait), defaultGrouping.Wait),
		Interval: cmp.Or(p.span([]any{"grouping", "interval"}, d.Grouping.Interval), defaultGrouping.Interval),
		Repeat:   cmp.Or(p.span([]any{"grouping", "repeat"}, d.Grouping.Repeat), defaultGrouping.Repeat),
	}}
	p.bound([]any{"rules"}, len(d.Rules)+len(d.Objectives), maxRules)
	p.bound([]any{"receivers"}, len(d.Receivers), maxReceivers)
	known := map[string]bool{}
	for i, written := range d.Receivers {
		path := []any{"receivers", i}
		p.named(path, written.Name, "receiver", known)
		file.Receivers = append(file.Receivers, p.receiver(path, written))
	}
	names := map[string]bool{}
	for i, written := range d.Rules {
		path := []any{"rules", i}
		p.named(path, written.Name, "rule", names)
		p.receivers(path, written.Receivers, known)
		file.Rules = append(file.Rules, p.rule(path, written))
	}
	for i, written := range d.Objectives {
		path := []any{"objectives", i}
		p.named(path, written.Name, "objective", names)
		p.receivers(path, written.Receivers, known)
		file.Objectives = append(file.Objectives, p.objective(path, written))
	}
	return file
}

// span is a duration, 0 when it cannot be read.
func (p *parser) span(path []any, written span) time.Duration {
	if written == noSpan {
		p.fault(path, "%q is no duration such as 90s, 5m or 30d", textOf(p.tree, path...))
		return 0
	}
	return time.Duration(written)
}

func (p *parser) bound(path []any, is, most int) {
	if is > most {
		p.fault(path, "%d are too many, %d are allowed", is, most)
	}
}

// named wants a name that no other of its kind has.
func (p *parser) named(path []any, name, what string, taken map[string]bool) {
	switch {
	case !wellNamed.MatchString(name):
		p.fault(at(path, "name"), "a %s needs a name of letters, digits, _ and -; it is %q", what, name)
	case taken[name]:
		p.fault(at(path, "name"), "there are two of the name %q", name)
	}
	taken[name] = true
}

func (p *parser) receivers(path []any, names []string, known map[string]bool) {
	for _, name := range names {
		if !known[name] {
			p.fault(at(path, "receivers"), "there is no receiver %q", name)
		}
	}
}

func (p *parser) receiver(path []any, written writtenReceiver) Receiver {
	if written.URL != "" && written.URLFile != "" {
		p.fault(path, "url and url_file are given, one is enough")
	}
	if written.PerMinute < 0 || written.PerMinute > maxPerMinute {
		p.fault(at(path, "per_minute"), "%d is not between 1 and %d", written.PerMinute, maxPerMinute)
	}
	address, place := written.URL, at(path, "url")
	if written.URLFile != "" {
		place = at(path, "url_file")
		address = p.content(place, written.URLFile)
	}
	if inTheClear(address) {
		p.fault(place, "over http what is told can be read and changed on its way: only https leads to other machines")
	}
	return Receiver{
		Name: written.Name, Line: lineOf(p.tree, place...), URL: Conceal(address), PerMinute: cmp.Or(written.PerMinute, 30),
	}
}

// inTheClear says that an address leads to another machine by http.
func inTheClear(address string) bool {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(parsed.Hostname())
	return parsed.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// content is the first line of a file that a line of this one names.
func (p *parser) content(path []any, name string) string {
	if p.alone {
		p.fault(path, "there are no files beside this one")
		return ""
	}
	if !filepath.IsAbs(name) {
		name = p.resolve(name)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		p.fault(path, "%v", err)
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(content)), "\n")
	if line == "" {
		p.fault(path, "%s is empty", name)
	}
	return strings.TrimSpace(line)
}

func (p *parser) rule(path []any, written writtenRule) Rule {
	p.subject(path, written)
	p.texts(path, written.Summary, written.Runbook)
	if !slices.Contains([]string{Info, Warning, Critical}, written.Severity) {
		p.fault(at(path, "severity"), "a severity is info, warning or critical; it is %q", written.Severity)
	}
	if written.Count < 0 || written.Count > maxCount {
		p.fault(at(path, "count"), "%d is not between 1 and %d", written.Count, maxCount)
	}
	p.bound(at(path, "by"), len(written.By), maxBy)
	rule := Rule{
		Name: written.Name, Summary: written.Summary, Severity: written.Severity, Runbook: written.Runbook,
		Metric: written.Metric, Event: written.Event, Clear: written.Clear, Sources: written.Sources,
		Match: map[string][]string{}, By: slices.Sorted(slices.Values(written.By)), Receivers: written.Receivers,
		Count: max(written.Count, 1), For: p.span(at(path, "for"), written.For), Linger: p.span(at(path, "linger"), written.Linger),
		Quiet: p.span(at(path, "quiet"), written.Quiet), Absent: p.span(at(path, "absent"), written.Absent),
	}
	for _, name := range slices.Sorted(maps.Keys(written.Match)) {
		rule.Match[name] = written.Match[name]
	}
	if written.When != "" {
		rule.When = p.condition(at(path, "when"), written.When)
	}
	return rule
}

// subject wants a rule to look at one kind of thing, with all that this kind needs.
func (p *parser) subject(path []any, written writtenRule) {
	ofMetric, ofEvent := written.Metric != "", written.Event != ""
	switch {
	case ofMetric == ofEvent:
		p.fault(path, "a rule looks at a metric or at an event, and at one of them")
	case ofEvent && len(written.Clear) == 0 && written.Quiet == 0:
		p.fault(path, "an event needs clear, quiet or both: nothing else ends its alert")
	case ofEvent && written.Quiet > 0 && written.For >= written.Quiet:
		p.fault(at(path, "for"), "it would be over before it fires: for must be less than quiet")
	case ofEvent && written.Absent > 0:
		p.fault(at(path, "absent"), "only a metric can be absent")
	case ofMetric && written.Quiet > 0:
		p.fault(at(path, "quiet"), "quiet is of events: the last word of a metric stands")
	case ofMetric && written.Absent > 0 && len(written.Clear) > 0:
		p.fault(at(path, "clear"), "what is absent clears when it is heard of again")
	case ofMetric && written.When == "" && written.Absent == 0:
		p.fault(path, "a metric needs a condition, when, or absent")
	case ofMetric && written.When != "" && written.Absent > 0:
		p.fault(path, "when and absent are two rules")
	}
}

func (p *parser) texts(path []any, summary, runbook string) {
	if summary == "" {
		p.fault(path, "a summary says what is wrong; it is missing")
	}
	for _, text := range []string{summary, runbook} {
		if len(text) > maxText {
			p.fault(path, "a text of %d bytes is too long, %d are allowed", len(text), maxText)
		}
	}
}

func (p *parser) objective(path []any, written writtenObjective) Objective {
	p.texts(path, written.Summary, written.Runbook)
	judged, counted := written.Metric != "" || written.Good != "", len(written.Total) > 0 || len(written.Bad) > 0
	window := cmp.Or(p.span(at(path, "window"), written.Window), 30*24*time.Hour)
	switch {
	case judged == counted:
		p.fault(path, "an objective judges the points of a metric (metric, good) or counts (total, bad), and does one of them")
	case judged && (written.Metric == "" || written.Good == ""):
		p.fault(path, "metric and good belong together")
	case counted && (len(written.Total) == 0 || len(written.Bad) == 0):
		p.fault(path, "total and bad belong together")
	}
	if written.Target <= 0 || written.Target >= 1 {
		p.fault(at(path, "target"), "a target is a share between 0 and 1, both excluded, such as 0.999; it is %g", written.Target)
	}
	if window < leastWindow || window > longestWindow {
		p.fault(at(path, "window"), "a window is from 1h to 90d; it is %s", model.Duration(window))
	}
	objective := Objective{
		Name: written.Name, Summary: written.Summary, Runbook: written.Runbook, Target: written.Target, Window: window,
		Sources: written.Sources, Metric: written.Metric, Total: written.Total, Bad: written.Bad, Receivers: written.Receivers,
	}
	if written.Good != "" {
		objective.Good = p.condition(at(path, "good"), written.Good)
	}
	if objective.Good != nil && objective.Good.Window() > 0 {
		p.fault(at(path, "good"), "each point is judged by itself: there is nothing to look back at")
	}
	return objective
}

func (p *parser) condition(path []any, text string) *Condition {
	condition, err := compile(text)
	if err != nil {
		p.fault(path, "%s: %v", strings.TrimSpace(text), err)
	}
	return condition
}
