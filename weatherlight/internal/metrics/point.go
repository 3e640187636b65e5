// Package metrics shows the figures of a service: on /metrics, and in its packets.
//
// A [Point] is one measurement, made when somebody asks. A [Table] explains the series by
// what their owners declare, and a [Collector] shows points to Prometheus with its texts.
package metrics

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Point is one measurement.
type Point struct {
	Name  string // as in packets, with dots
	Value float64
	Unit  string
	// Labels are pairs of attribute name and text.
	Labels []string
	// Series, when set, is the name on /metrics, with SeriesLabels: the packet's name then
	// holds the label in itself, as its readers expect.
	Series       string
	SeriesLabels []string
}

// Prefixed turns named figures into points, in the order of their names. unit says what
// each is in; nil is nothing.
func Prefixed(prefix string, figures map[string]float64, unit func(name string) string) []Point {
	points := make([]Point, 0, len(figures))
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		p := Point{Name: prefix + name, Value: figures[name]}
		if unit != nil {
			p.Unit = unit(name)
		}
		points = append(points, p)
	}
	return points
}

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
