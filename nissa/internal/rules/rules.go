// Package rules reads the file that says when Nissa alerts, whom it tells, and what its
// objectives are. [Parse] takes the whole file or nothing, and names all that is wrong with it
// at once, by line. A condition is compiled once; what it may cost is bounded.
package rules

import (
	"cmp"
	_ "embed"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// standard is the file for those who bring none.
//
//go:embed default.yml
var standard string

// Thresholds are what settings say of the shipped file. A 0 means its default.
type Thresholds struct {
	Coverage      float64 // below which an observation counts; default 0.7
	CoverageCount int     // observations in a row that raise the alert; default 3
	ElevatedRisk  float64 // from which a blueprint is of elevated risk; default 0.8
}

// Default is the text of the shipped file.
func Default(t Thresholds) []byte {
	return []byte(strings.NewReplacer(
		"${coverage_threshold}", number(cmp.Or(t.Coverage, 0.7)),
		"${coverage_count}", strconv.Itoa(cmp.Or(t.CoverageCount, 3)),
		"${elevated_risk}", number(cmp.Or(t.ElevatedRisk, 0.8)),
	).Replace(standard))
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// FaultsError is all that is wrong with a file.
type FaultsError []string

func (f FaultsError) Error() string { return strings.Join(f, "\n") }

// File is what a file says.
type File struct {
	Grouping   Grouping
	Receivers  []Receiver
	Rules      []Rule
	Objectives []Objective
}

// Grouping says when alerts of one rule that are for one receiver are told.
type Grouping struct {
	Wait     time.Duration // from the first alert to the first notification, for others to join
	Interval time.Duration // least time from one notification to the next
	Repeat   time.Duration // until what still fires is told again
}

// Receiver is somebody who is told.
type Receiver struct {
	Name      string
	Line      int    // of the file, where its URL stands
	URL       Secret // empty: what is for it is only logged
	PerMinute int    // most notifications in a minute
}

// Secret is a text that is never shown.
type Secret struct{ text string }

// Conceal makes a secret of a text.
func Conceal(text string) Secret { return Secret{text} }

// Reveal is the text.
func (s Secret) Reveal() string { return s.text }

func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return "***"
}

// LogValue shows no more than String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText shows no more than String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// GoString shows no more than String.
func (s Secret) GoString() string { return s.String() }

// Severities, from the least.
const (
	Info     = "info"
	Warning  = "warning"
	Critical = "critical"
)

// Rule says when something is wrong. It looks at points of a metric, or at events.
type Rule struct {
	Name, Summary, Severity, Runbook string

	Metric    string              // of the points it looks at; empty: events. Family says what a * at its end means
	Event     string              // that raises it
	Clear     []string            // events that end its alerts; of a metric those of the same labels, whoever tells of it
	Sources   []string            // empty: of all
	Match     map[string][]string // labels of what it looks at
	By        []string            // labels by which its subjects are told apart, beside their source
	Receivers []string

	// Count is how many observations in a row must hold, and For how long they must.
	Count int
	For   time.Duration
	// Linger is how long the condition must be gone before the alert ends.
	Linger time.Duration
	// Quiet is how long after the last event the alert ends by itself; 0: by Clear alone.
	Quiet time.Duration
	// Absent is the silence of a source that was heard that raises it; 0: it does not.
	Absent time.Duration

	When *Condition // nil: whatever is looked at holds
}

// Concerns says that a rule looks at what a source has told.
func (r *Rule) Concerns(source string, labels map[string]string) bool {
	if len(r.Sources) > 0 && !slices.Contains(r.Sources, source) {
		return false
	}
	for name, wanted := range r.Match {
		if !slices.Contains(wanted, labels[name]) {
			return false
		}
	}
	return true
}

// Has says that what a rule looks at may be of a subject, which was told apart by its labels.
func (r *Rule) Has(source string, labels map[string]string) bool {
	if len(r.Sources) > 0 && !slices.Contains(r.Sources, source) {
		return false
	}
	for name, wanted := range r.Match {
		if slices.Contains(r.By, name) && !slices.Contains(wanted, labels[name]) {
			return false
		}
	}
	return true
}

// Shape is another text when a rule looks at something else, or tells it apart by something else: it
// then has none of its former subjects.
func (r *Rule) Shape() string {
	match := maps.Clone(r.Match)
	maps.DeleteFunc(match, func(name string, _ []string) bool { return slices.Contains(r.By, name) }) // Has knows
	return fmt.Sprint(r.Metric, " ", r.Event, " ", match, " ", slices.Sorted(slices.Values(r.By)))
}

// Family is the beginning of the names of the metrics that a rule looks at, when it looks at more
// than one. Its subjects are then told apart by the rest of the name, as the label "metric".
func (r *Rule) Family() (prefix string, is bool) { return strings.CutSuffix(r.Metric, "*") }

// Objective is a share of what happens that must be good.
type Objective struct {
	Name, Summary, Runbook string

	Target  float64 // from 0 to 1, both excluded
	Window  time.Duration
	Sources []string // empty: all

	// Metric and Good judge each point of a metric.
	Metric string
	Good   *Condition
	// Total and Bad are counters, whose increases are added up.
	Total, Bad []string

	Receivers []string
}

// Parse reads a file. Folder is where the files lie that it names; empty: it may name none.
func Parse(data []byte, folder string) (*File, error) {
	written, tree, err := read(data)
	if err != nil {
		return nil, err
	}
	p := parser{tree: tree, resolve: func(name string) string { return filepath.Join(folder, name) }, alone: folder == ""}
	file := p.file(written)
	if len(p.faults) > 0 {
		return nil, p.faults
	}
	return file, nil
}
