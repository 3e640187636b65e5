package telemetry

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Figure is a series with what it comes to now: its owner declares what it is and how it is
// measured in one place. Those of an owner in which nothing has happened declare them all.
type Figure struct {
	name, unit, meaning string
	kind                SeriesKind

	// Most figures have a single point, and a decision makes dozens of them: it needs no memory of its own.
	measured bool
	first    Point
	others   []Point
}

// Point is one value of a series.
type Point struct {
	Name   string // as in packets, with dots
	Value  float64
	Unit   string
	labels string   // their names, with commas between
	texts  []string // theirs, empty for those that are left out
	inName []string
}

// named calls with each label that has a text.
func (p Point) named(with func(label, text string)) {
	left := p.labels
	for _, text := range p.texts {
		var label string
		if label, left, _ = strings.Cut(left, ","); label != "" && text != "" {
			with(label, text)
		}
	}
}

// Labels are pairs of name and text.
func (p Point) Labels() (pairs []string) {
	p.named(func(label, text string) { pairs = append(pairs, label, text) })
	return pairs
}

func (p Point) attributes() map[string]string {
	if p.labels == "" || len(p.texts) == 0 {
		return nil
	}
	named := make(map[string]string, len(p.texts))
	p.named(func(label, text string) { named[label] = text })
	return named
}

// InName are the labels that packets have in the name, as their readers expect.
func (p Point) InName() []string { return p.inName }

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
	return measuring(name, unit, meaning).With(float64(value), texts...)
}

// MeasureEach declares as many of them as there are parts of its name.
func MeasureEach[N Number](name, unit, meaning string, values map[string]N) Figure {
	return withEach(measuring(name, unit, meaning), values)
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
	return Figure{name: name, unit: "count", meaning: meaning, kind: Rising}
}

func measuring(name, unit, meaning string) Figure {
	return Figure{name: name, unit: unit, meaning: meaning, kind: Gauge}
}

// Series is what is declared.
func (f Figure) Series() Series {
	name, labels := f.split()
	if before, after, inside := strings.Cut(name, ">."); inside {
		before, labels, _ = strings.Cut(before, "<")
		name = before + after
	}
	kind := f.kind
	name = strings.ReplaceAll(name, ".", "_")
	if kind == Rising && strings.HasSuffix(name, "_total") {
		kind = Counter
	}
	return Series{Name: name, Labels: labels, Kind: kind, Unit: f.unit, Meaning: f.meaning}
}

func (f Figure) split() (name, labels string) {
	name, labels, _ = strings.Cut(f.name, "{")
	return name, strings.TrimSuffix(labels, "}")
}

// With adds a value with the texts of its labels.
func (f Figure) With(value float64, texts ...string) Figure {
	name, labels := f.split()
	point := Point{Name: name, Value: value, Unit: f.unit, labels: labels, texts: texts}
	if before, rest, varies := strings.Cut(name, "<"); varies && len(texts) > 0 {
		label, after, _ := strings.Cut(rest, ">")
		point.Name, point.texts = before+texts[0]+after, nil
		if after != "" {
			point.inName = []string{label, texts[0]}
		}
	}
	if !f.measured {
		f.measured, f.first = true, point
		return f
	}
	f.others = append(f.others, point)
	return f
}

// Points are the values.
func (f Figure) Points() iter.Seq[Point] {
	return func(yield func(Point) bool) {
		if !f.measured || !yield(f.first) {
			return
		}
		for _, point := range f.others {
			if !yield(point) {
				return
			}
		}
	}
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
		f.measured, f.others = false, nil
	}
	return f
}

// Declared are the series of figures.
func Declared(figures ...[]Figure) []Series {
	var all []Series
	for _, figure := range slices.Concat(figures...) {
		all = append(all, figure.Series())
	}
	return all
}

// ByName are the figures a point each, in the order of their names.
func ByName(figures []Figure) []Figure {
	var single []Figure
	for _, figure := range figures {
		for point := range figure.Points() {
			figure.first, figure.others = point, nil
			single = append(single, figure)
		}
	}
	slices.SortStableFunc(single, func(a, b Figure) int { return cmp.Compare(a.first.Name, b.first.Name) })
	return single
}

// Bare are the same without units, as some parts tell them in packets.
func Bare(figures []Figure) []Figure {
	bare := ByName(figures)
	for i := range bare {
		bare[i].first.Unit = ""
	}
	return bare
}

// MetricPoints are the figures as packets carry them. Those with the same labels share these:
// nobody may change them.
func MetricPoints(figures []Figure) []*leyline.MetricPoint {
	points := make([]*leyline.MetricPoint, 0, len(figures))
	var last Point
	var labelled map[string]string // as the last one is
	for _, figure := range figures {
		for p := range figure.Points() {
			if p.labels != last.labels || !slices.Equal(p.texts, last.texts) {
				last, labelled = p, p.attributes()
			}
			points = append(points, &leyline.MetricPoint{Name: p.Name, Value: p.Value, Unit: p.Unit, Attributes: labelled})
		}
	}
	return points
}

// Values are those of figures by the names of their points, without a prefix of them.
func Values(figures []Figure, prefix string) map[string]float64 {
	values := make(map[string]float64)
	for _, figure := range figures {
		for point := range figure.Points() {
			values[strings.TrimPrefix(point.Name, prefix)] = point.Value
		}
	}
	return values
}
