package telemetry

import "strings"

// SeriesKind is what a reader may do with the values of a series.
type SeriesKind string

const (
	// Counter only rises; its name ends in _total.
	Counter SeriesKind = "counter"
	// Rising only rises too. Its name, which dashboards know, is not that of a counter, so
	// that it is typed gauge.
	Rising SeriesKind = "gauge, only rises"
	// Gauge is a level, or the last of something.
	Gauge SeriesKind = "gauge"
	// Histogram counts by buckets.
	Histogram SeriesKind = "histogram"
)

// Series says what a series of /metrics, or of the points in packets, is. Its owner
// declares it beside what it measures.
type Series struct {
	// Name is as Prometheus shows it. A last part in angle brackets varies:
	// weatherlight_tamiyo_coverage_<feature>.
	Name    string
	Labels  string // their names, separated by commas
	Kind    SeriesKind
	Unit    string
	Meaning string
}

// Help is the text beside the series.
func (s Series) Help() string {
	if s.Unit == "" {
		return s.Meaning
	}
	return s.Meaning + " Unit: " + s.Unit + "."
}

// Labelled is the name with the names of its labels: name{label,label}.
func (s Series) Labelled() string {
	if s.Labels == "" {
		return s.Name
	}
	return s.Name + "{" + s.Labels + "}"
}

// spelledOut are the units that names abbreviate, and the base unit that /metrics has instead.
var spelledOut = map[string]string{"ms": "seconds", "s": "seconds"}

// Exposed is the series as /metrics shows it, in base units, and by what its values are
// multiplied there. Packets keep the names and the units that their readers know.
func (s Series) Exposed() (shown Series, factor float64) {
	words := strings.Split(s.Name, "_")
	for i, word := range words {
		base, short := spelledOut[word]
		switch {
		case short && i > 0 && words[i-1] == "per":
			words[i] = "second"
		case short && (word == "ms" || i == len(words)-1):
			words[i] = base
		}
	}
	s.Name = strings.Join(words, "_")
	if s.Unit != "ms" {
		return s, 1
	}
	s.Unit = "seconds"
	return s, 1e-3
}

// Family is the part of a name before the one that varies, if one does.
func (s Series) Family() (prefix string, varies bool) {
	prefix, _, varies = strings.Cut(s.Name, "<")
	return prefix, varies
}
