// Package metrics shows the figures of a service on /metrics.
//
// A [Collector] shows to Prometheus what the owners of figures declare and measure.
package metrics

import (
	"strings"
	"time"
)

// SeriesName replaces what a Prometheus name may not hold.
func SeriesName(name string) string {
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

// SinceMs is how long ago something was, in ms.
func SinceMs(t time.Time) float64 { return time.Since(t).Seconds() * 1e3 }

// Flag is 1 for what is so, 0 for what is not.
func Flag(set bool) float64 {
	if set {
		return 1
	}
	return 0
}
