package main

import (
	"maps"
	"slices"
)

// Names of the columns. Ours is one of them so that every figure is taken down
// the same way.
const (
	ours           = "ours"
	ceiling        = "ceiling"
	ceilingOnce    = "ceiling_once"
	raw            = "raw"
	rawSigned      = "raw_signed"
	watermillPeer  = "watermill"
	jetstreamPeer  = "jetstream"
	suturePeer     = "suture"
	onnxPeer       = "onnxruntime"
	oneCore        = "one_core"
	prototype      = "prototype"
	prototypeTuned = "prototype_tuned"
)

// Directions of a figure.
const (
	higher = "higher"
	lower  = "lower"
)

// row says what is measured. Its constants are figures of peers that cannot be
// run here: medians taken on this kind of machine.
type row struct {
	name, unit, better string
	constants          map[string]float64
}

// figures are one row with all that was measured for it.
type figures struct {
	row
	samples map[string][]float64 // by column
	absent  map[string]string    // why a peer has no samples, by column
}

// table collects samples by row and column.
type table struct {
	order []string
	named map[string]*figures
}

func newTable() *table { return &table{named: make(map[string]*figures)} }

func (t *table) add(r row) {
	t.order = append(t.order, r.name)
	t.named[r.name] = &figures{row: r, samples: make(map[string][]float64), absent: make(map[string]string)}
}

// wants reports whether a row is in the table.
func (t *table) wants(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return t.named[name] != nil })
}

// sample takes down one figure of one run. Rows that nobody asked for are
// measured along with others; their figures are dropped.
func (t *table) sample(name, column string, value float64) {
	if f := t.named[name]; f != nil {
		f.samples[column] = append(f.samples[column], value)
	}
}

// miss takes down why a peer could not be measured.
func (t *table) miss(name, column, reason string) {
	if f := t.named[name]; f != nil {
		f.absent[column] = reason
	}
}

// rows are those that were measured.
func (t *table) rows() []*figures {
	var rows []*figures
	for _, name := range t.order {
		if f := t.named[name]; len(f.samples[ours]) > 0 {
			rows = append(rows, f)
		}
	}
	return rows
}

// median of the samples of a column, or its constant.
func (f *figures) median(column string) (float64, bool) {
	if constant, known := f.constants[column]; known {
		return constant, true
	}
	if len(f.samples[column]) == 0 {
		return 0, false
	}
	return quantile(f.samples[column], 0.5), true
}

// peers are the columns beside ours, in order of their names.
func (f *figures) peers() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(f.constants)), maps.Keys(f.samples))
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == ours })
}

// spread is how far the runs of a column lie apart, from the lowest to the
// highest, as a part of their median.
func (f *figures) spread(column string) float64 {
	samples := f.samples[column]
	if len(samples) < 2 {
		return 0
	}
	middle := quantile(samples, 0.5)
	if middle == 0 {
		return 0
	}
	return (slices.Max(samples) - slices.Min(samples)) / middle
}

// quantile interpolates between the two nearest samples; q is in 0..1.
func quantile(samples []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(at-float64(low))
}
