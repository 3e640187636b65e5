package weatherlight

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// seriesKind is what a scraper may do with the values of a series.
type seriesKind string

const (
	kindCounter seriesKind = "counter" // only rises; its name ends in _total
	// kindRising only rises too. Its name, which dashboards know, is not that of a
	// counter, so that it is typed gauge.
	kindRising    seriesKind = "gauge, only rises"
	kindGauge     seriesKind = "gauge" // a level, or the last of something
	kindHistogram seriesKind = "histogram"
)

// seriesRow says what a series of /metrics is. HELP and TYPE are made from it,
// and so is the table of docs/operations.md.
type seriesRow struct {
	// name is that of the series. A last part in angle brackets varies:
	// weatherlight_tamiyo_coverage_<feature>.
	name    string
	labels  string // names of the labels, separated by commas
	kind    seriesKind
	unit    string // as in the summary packet, where that has one
	meaning string
}

// seriesGroup is the part of the table that one subsystem has.
type seriesGroup struct {
	title string
	rows  []seriesRow
}

// seriesGroups is the whole table, in the order of the page.
func seriesGroups() []seriesGroup {
	return []seriesGroup{
		{"The service", serviceSeries()},
		{"Signals and alarms", signalSeries()},
		{"The bus", busSeries()},
		{"Refusals and emergencies on the bus", emergencySeries()},
		{"Kernel requests and the kernel library", librarySeries()},
		{"The forge", forgeSeries()},
		{"The blueprint catalogue", catalogSeries()},
		{"Field reports", reportSeries()},
		{"Seeds and commands", seedSeries()},
	}
}

// help is the HELP of a series.
func (r seriesRow) help() string {
	if r.unit == "" {
		return r.meaning
	}
	return r.meaning + " Unit: " + r.unit + "."
}

func (r seriesRow) valueType() prometheus.ValueType {
	if r.kind == kindCounter {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// family is the part of a name before the one that varies, if one does.
func (r seriesRow) family() (prefix string, varies bool) {
	prefix, _, varies = strings.Cut(r.name, "<")
	return prefix, varies
}

// seriesIndex finds rows by the names of series.
type seriesIndex struct {
	exact    map[string]seriesRow
	families map[string]seriesRow // by what their names begin with
	prefixes []string             // of the families, the longest first
}

func newSeriesIndex(groups []seriesGroup) *seriesIndex {
	index := &seriesIndex{exact: make(map[string]seriesRow), families: make(map[string]seriesRow)}
	for _, group := range groups {
		for _, row := range group.rows {
			if prefix, varies := row.family(); varies {
				index.families[prefix] = row
			} else {
				index.exact[row.name] = row
			}
		}
	}
	index.prefixes = slices.SortedFunc(maps.Keys(index.families), func(a, b string) int { return len(b) - len(a) })
	return index
}

// row is that of a series. One without is shown all the same: a release must not
// hide what it forgot to explain.
func (i *seriesIndex) row(series string) (seriesRow, bool) {
	if row, found := i.exact[series]; found {
		return row, true
	}
	for _, prefix := range i.prefixes {
		if rest, found := strings.CutPrefix(series, prefix); found && rest != "" {
			return i.families[prefix], true
		}
	}
	return seriesRow{name: series, kind: kindGauge, meaning: "Not documented."}, false
}
