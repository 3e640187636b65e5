package weatherlight

import (
	"maps"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/telemetry"
)

// table finds what explains a series by its name.
type table struct {
	exact    map[string]telemetry.Series
	families map[string]telemetry.Series // by what their names begin with
	prefixes []string                    // of the families, the longest first
}

// newTable is of all that is declared.
func newTable(declared []telemetry.Series) *table {
	table := &table{exact: make(map[string]telemetry.Series), families: make(map[string]telemetry.Series)}
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

// find returns what explains a series.
func (t *table) find(name string) (telemetry.Series, bool) {
	if series, found := t.exact[name]; found {
		return series, true
	}
	for _, prefix := range t.prefixes {
		if rest, found := strings.CutPrefix(name, prefix); found && rest != "" {
			return t.families[prefix], true
		}
	}
	return telemetry.Series{}, false
}
