package metrics

import (
	"maps"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/telemetry"
)

// Table finds what explains a series by its name.
type Table struct {
	exact    map[string]telemetry.Series
	families map[string]telemetry.Series // by what their names begin with
	prefixes []string                    // of the families, the longest first
}

// NewTable is of all that is declared.
func NewTable(declared []telemetry.Series) *Table {
	table := &Table{exact: make(map[string]telemetry.Series), families: make(map[string]telemetry.Series)}
	for _, series := range declared {
		if prefix, varies := series.Family(); varies {
			table.families[prefix] = series
		} else {
			table.exact[series.Name] = series
		}
	}
	table.prefixes = slices.SortedFunc(maps.Keys(table.families), func(a, b string) int { return len(b) - len(a) })
	return table
}

// Find returns what explains a series. One that nobody declared is shown all the same:
// a release must not hide what it forgot to explain.
func (t *Table) Find(name string) (telemetry.Series, bool) {
	if series, found := t.exact[name]; found {
		return series, true
	}
	for _, prefix := range t.prefixes {
		if rest, found := strings.CutPrefix(name, prefix); found && rest != "" {
			return t.families[prefix], true
		}
	}
	return telemetry.Series{Name: name, Kind: telemetry.Gauge, Meaning: "Not documented."}, false
}
