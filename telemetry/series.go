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

// Family is the part of a name before the one that varies, if one does.
func (s Series) Family() (prefix string, varies bool) {
	prefix, _, varies = strings.Cut(s.Name, "<")
	return prefix, varies
}
