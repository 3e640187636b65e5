package tezzeret_test

import (
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/tezzeret"
)

// spatial are slots of every form, small enough for plain loops.
func spatial() []tezzeret.Slot {
	return []tezzeret.Slot{{Features: 20}, {Sequence: 9, Width: 6}, {Channels: 3, Height: 8, Width: 9}}
}

// ends are the least, middle and largest parameters of a blueprint of one.
func ends(t *testing.T, name string) []map[string]float64 {
	t.Helper()
	d := find(t, name)
	list := []map[string]float64{tezzeret.Midpoints(d), {}, {}}
	for parameter, b := range d.GetAllowedParameters() {
		list[1][parameter], list[2][parameter] = b.GetMinValue(), b.GetMaxValue()
	}
	return list
}

// round is how a parameter that counts things is read.
func round(v float64) int { return int(math.Round(v)) }

func TestConvolutionsAreTheirDefinitions(t *testing.T) {
	references := map[string]func(r *trial, p plane) plane{
		"grouped_conv": func(r *trial, p plane) plane {
			w, b := r.role("kernel"), r.role("bias")
			groups := filter{groups: round(r.params["groups"])}
			h := p.conv(w[0], b[0], filter{}).each(relu).conv(w[1], b[1], groups).each(relu)
			return p.plus(h.conv(w[2], b[2], filter{}))
		},
		"depthwise_separable": func(r *trial, p plane) plane {
			w, b := r.role("kernel"), r.role("bias")
			if taps := w[1].Shape[2]; taps != round(r.params["kernel"]) || w[1].Shape[1] != 1 {
				r.t.Errorf("window %v for %v", w[1].Shape, r.params)
			}
			h := p.conv(w[0], b[0], filter{}).each(relu).conv(w[1], b[1], filter{groups: w[1].Shape[0]}).each(relu)
			return p.plus(h.conv(w[2], b[2], filter{}))
		},
		"temporal_conv": func(r *trial, p plane) plane {
			w, b := r.role("kernel"), r.role("bias")
			past := filter{dilation: round(r.params["dilation"]), causal: true}
			h := p.conv(w[0], b[0], past).each(relu).conv(w[1], b[1], past).each(relu)
			return p.plus(h.conv(w[2], b[2], filter{}))
		},
		"dilated_conv": func(r *trial, p plane) plane {
			w, b, d := r.role("kernel"), r.role("bias"), round(r.params["dilation"])
			h := p.conv(w[0], b[0], filter{}).each(relu).conv(w[1], b[1], filter{dilation: (d + 2) / 2}).each(relu)
			return p.plus(h.conv(w[2], b[2], filter{dilation: d}))
		},
		"pooling_max":       referencePooling,
		"dynamic_conv":      referenceDynamic,
		"spatial_attention": referenceSpatial,
		"deformable_conv":   referenceDeformable,
	}
	for name, reference := range references {
		for _, slot := range spatial() {
			if refused(name, slot) {
				continue
			}
			for _, params := range ends(t, name) {
				r := newTrial(t, name, params, slot)
				r.want(func(x []float64) []float64 { return reference(r, planeOf(slot, x)).example(slot) })
			}
		}
	}
}

func referencePooling(r *trial, p plane) plane {
	size := round(r.params["kernel"])
	rows := size
	if p.h == 1 {
		rows = 1
	}
	q := plane{p.c, p.h, p.w, make([]float64, len(p.data))}
	for i := range q.data {
		c, y, x := i/(p.h*p.w), i/p.w%p.h, i%p.w
		q.data[i] = math.Inf(-1)
		for ky := range rows {
			for kx := range size {
				if v, ok := p.at(c, y+ky-(rows-1)/2, x+kx-(size-1)/2); ok {
					q.data[i] = math.Max(q.data[i], v)
				}
			}
		}
	}
	return q
}

// referenceDynamic mixes the kernels before the convolution, as the paper has it.
func referenceDynamic(r *trial, p plane) plane {
	w, b, gate := r.role("kernel"), r.role("bias"), r.role("weight")
	means := make([]float64, p.c)
	for i, v := range p.data {
		means[i/(p.h*p.w)] += v / float64(p.h*p.w)
	}
	share := softmaxRows(affine(means, gate[0], b[0]), gate[0].Shape[1])
	experts := len(share)
	hidden := w[0].Shape[0] / experts
	mixed, bias := w[0].Clone(), b[1].Clone()
	size := len(mixed.Data) / experts
	clear(mixed.Data[:size])
	clear(bias.Data[:hidden])
	for e, s := range share {
		for i := range size {
			mixed.Data[i] += float32(s) * w[0].Data[e*size+i]
		}
		for i := range hidden {
			bias.Data[i] += float32(s) * b[1].Data[e*hidden+i]
		}
	}
	mixed.Shape, mixed.Data = append([]int{hidden}, mixed.Shape[1:]...), mixed.Data[:size]
	return p.plus(p.conv(mixed, bias, filter{}).each(relu).conv(w[1], b[2], filter{}))
}

func referenceSpatial(r *trial, p plane) plane {
	area := p.h * p.w
	maps := plane{2, p.h, p.w, make([]float64, 2*area)}
	for i := range area {
		maps.data[area+i] = math.Inf(-1)
		for c := range p.c {
			v := p.data[c*area+i]
			maps.data[i] += v / float64(p.c)
			maps.data[area+i] = math.Max(maps.data[area+i], v)
		}
	}
	w := r.role("kernel")[0]
	if side := w.Shape[2]; side != 2*round(r.params["radius"])+1 {
		r.t.Errorf("window %v for %v", w.Shape, r.params)
	}
	gate := maps.conv(w, r.role("bias")[0], filter{}).each(sigmoid)
	return p.eachWith(func(i int, v float64) float64 { return v * 2 * gate.data[i%area] })
}

func (p plane) eachWith(f func(i int, v float64) float64) plane {
	data := make([]float64, len(p.data))
	for i, v := range p.data {
		data[i] = f(i, v)
	}
	p.data = data
	return p
}

// referenceDeformable reads the input at fractional places.
func referenceDeformable(r *trial, p plane) plane {
	w, b, groups := r.role("kernel"), r.role("bias"), round(r.params["offset_groups"])
	h := p.conv(w[0], b[0], filter{}).each(relu)
	axes := len(w[1].Shape) - 2
	var offsets []plane // y then x in a map, x alone in a line
	for a := range axes {
		offsets = append(offsets, p.conv(w[1+a], b[1+a], filter{}))
	}
	taps := 3
	if axes == 2 {
		taps = 9
	}
	area, channels := p.h*p.w, h.c/groups
	s := plane{h.c * taps, p.h, p.w, make([]float64, h.c*taps*area)}
	for c := range h.c {
		for k := range taps {
			for i := range area {
				group := c / channels
				moved := func(axis int) float64 { return offsets[axis].data[(group*taps+k)*area+i] }
				y, x := 0.0, float64(i%p.w+k%3-1)+moved(axes-1)
				if axes == 2 {
					y = float64(i/p.w+k/3-1) + moved(0)
				}
				s.data[(c*taps+k)*area+i] = h.between(c, y, x)
			}
		}
	}
	return p.plus(s.conv(w[1+axes], b[1+axes], filter{}).each(relu).conv(w[2+axes], b[2+axes], filter{}))
}

// between interpolates between the four neighbours, zero beyond the edge.
func (p plane) between(c int, y, x float64) float64 {
	top, left, sum := math.Floor(y), math.Floor(x), 0.0
	for dy := range 2 {
		for dx := range 2 {
			ny, nx := top+float64(dy), left+float64(dx)
			v, _ := p.at(c, int(ny), int(nx))
			sum += v * (1 - math.Abs(y-ny)) * (1 - math.Abs(x-nx))
		}
	}
	return sum
}

// touched lists the outputs that change when one input does.
func touched(r *trial, input int) (list []int) {
	changed := r.x.Clone()
	changed.Data[input] += 3
	y := forward(r.t, r.instance, changed)
	for i := range r.y.Data {
		if math.Abs(float64(y.Data[i]-r.y.Data[i])) > 1e-7 {
			list = append(list, i)
		}
	}
	return list
}

func TestNoPositionOfATemporalConvolutionSeesALaterOne(t *testing.T) {
	for _, slot := range []tezzeret.Slot{{Features: 20}, {Sequence: 20, Width: 1}} {
		for _, params := range ends(t, "temporal_conv") {
			r := newTrial(t, "temporal_conv", params, slot)
			reach := touched(r, 9)
			// Two convolutions of three taps look back four dilations.
			if slices.Min(reach) != 9 || slices.Max(reach) > 9+4*round(params["dilation"]) {
				t.Errorf("%v in %s: input 9 changes outputs %v", params, slot, reach)
			}
		}
	}
}
