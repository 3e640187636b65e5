package telemetry

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Figure is a series with what it comes to now: its owner declares what it is and how it is
// measured in one place. Those of an owner in which nothing has happened declare them all.
type Figure struct {
	Series
	Points []Point

	name string // of its points
}

// Point is one value of a series.
type Point struct {
	Name   string // as in packets, with dots
	Value  float64
	Unit   string
	Labels []string // pairs of name and text
	// InName are the labels that packets have in the name, as their readers expect.
	InName []string
}

// Number is what a figure may be kept as.
type Number interface {
	~int | ~int32 | ~int64 | ~uint32 | ~float32 | ~float64
}

// Count declares what only rises. The name is as in packets, with dots, and with the names
// of its labels, culls_total{reason}, whose texts come after the value; one without its text
// is left out. A part in angle brackets varies: it is the first of the texts.
func Count[N Number](name, meaning string, value N, texts ...string) Figure {
	return counting(name, meaning).With(float64(value), texts...)
}

// CountEach declares as many counts as there are texts of its one label, or parts of its name.
func CountEach[N Number](name, meaning string, values map[string]N) Figure {
	return withEach(counting(name, meaning), values)
}

// Measure declares a level, or the last of something.
func Measure[N Number](name, unit, meaning string, value N, texts ...string) Figure {
	return declare(Gauge, name, unit, meaning).With(float64(value), texts...)
}

// MeasureEach declares as many of them as there are parts of its name.
func MeasureEach[N Number](name, unit, meaning string, values map[string]N) Figure {
	return withEach(declare(Gauge, name, unit, meaning), values)
}

// Is declares what is 1 while something is so, and else 0.
func Is(name, meaning string, so bool, texts ...string) Figure {
	value := 0
	if so {
		value = 1
	}
	return Measure(name, "bool", meaning, value, texts...)
}

// Since declares how long ago something last was, in ms; nothing when it never was.
func Since(name, meaning string, last time.Time) Figure {
	return Measure(name, "ms", meaning, time.Since(last).Seconds()*1e3).If(!last.IsZero())
}

func counting(name, meaning string) Figure {
	figure := declare(Rising, name, "count", meaning)
	if strings.HasSuffix(figure.Name, "_total") {
		figure.Kind = Counter
	}
	return figure
}

func declare(kind SeriesKind, name, unit, meaning string) Figure {
	name, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	series := name
	if before, after, inside := strings.Cut(name, ">."); inside {
		before, labels, _ = strings.Cut(before, "<")
		series = before + after
	}
	series = strings.ReplaceAll(series, ".", "_")
	return Figure{Series: Series{Name: series, Labels: labels, Kind: kind, Unit: unit, Meaning: meaning}, name: name}
}

// With adds a value with the texts of its labels.
func (f Figure) With(value float64, texts ...string) Figure {
	point := Point{Name: f.name, Value: value, Unit: f.Unit}
	labels := strings.Split(f.Labels, ",")
	before, rest, varies := strings.Cut(f.name, "<")
	for i, text := range texts {
		switch _, after, _ := strings.Cut(rest, ">"); {
		case varies:
			point.Name = before + text + after
			if after != "" {
				point.InName = []string{f.Labels, text}
			}
		case text != "":
			point.Labels = append(point.Labels, labels[i], text)
		}
	}
	f.Points = append(f.Points, point)
	return f
}

func withEach[N Number](figure Figure, values map[string]N) Figure {
	for _, text := range slices.Sorted(maps.Keys(values)) {
		figure = figure.With(float64(values[text]), text)
	}
	return figure
}

// If leaves out the values of what has not been measured.
func (f Figure) If(measured bool) Figure {
	if !measured {
		f.Points = nil
	}
	return f
}

// Declared are the series of figures.
func Declared(figures ...[]Figure) []Series {
	var all []Series
	for _, figure := range slices.Concat(figures...) {
		all = append(all, figure.Series)
	}
	return all
}

// ByName are the figures a point each, in the order of their names.
func ByName(figures []Figure) []Figure {
	var single []Figure
	for _, figure := range figures {
		for _, point := range figure.Points {
			single = append(single, Figure{Series: figure.Series, Points: []Point{point}})
		}
	}
	slices.SortStableFunc(single, func(a, b Figure) int { return cmp.Compare(a.Points[0].Name, b.Points[0].Name) })
	return single
}

// Bare are the same without units, as some parts tell them in packets.
func Bare(figures []Figure) []Figure {
	bare := ByName(figures)
	for _, figure := range bare {
		figure.Points[0].Unit = ""
	}
	return bare
}

// MetricPoints are the figures as packets carry them.
func MetricPoints(figures []Figure) []*leyline.MetricPoint {
	var points []*leyline.MetricPoint
	for _, figure := range figures {
		for _, p := range figure.Points {
			points = append(points, &leyline.MetricPoint{Name: p.Name, Value: p.Value, Unit: p.Unit, Attributes: attributes(p.Labels)})
		}
	}
	return points
}

// Values are those of figures by the names of their points, without a prefix of them.
func Values(figures []Figure, prefix string) map[string]float64 {
	values := make(map[string]float64)
	for _, figure := range figures {
		for _, point := range figure.Points {
			values[strings.TrimPrefix(point.Name, prefix)] = point.Value
		}
	}
	return values
}
