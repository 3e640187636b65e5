package tezzeret_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// pooled averages a plane into bins, by the definition of adaptive pooling.
func (p plane) pooled(h, w int) plane {
	q := plane{p.c, h, w, make([]float64, p.c*h*w)}
	ends := func(b, from, to int) (int, int) { return b * from / to, ((b+1)*from + to - 1) / to }
	for i := range q.data {
		c, by, bx := i/(h*w), i/w%h, i%w
		top, bottom := ends(by, p.h, h)
		left, right := ends(bx, p.w, w)
		for y := top; y < bottom; y++ {
			for x := left; x < right; x++ {
				v, _ := p.at(c, y, x)
				q.data[i] += v / float64((bottom-top)*(right-left))
			}
		}
	}
	return q
}

// stretched interpolates a plane to another size.
func (p plane) stretched(h, w int) plane {
	q := plane{p.c, h, w, nil}
	for c := range p.c {
		m := make(matrix, p.h)
		for y := range m {
			m[y] = p.data[(c*p.h+y)*p.w : (c*p.h+y+1)*p.w]
		}
		for _, row := range stretched(stretched(m.transposed(), w).transposed(), h) {
			q.data = append(q.data, row...)
		}
	}
	return q
}

func TestPyramidAndPoolingAreTheirDefinitions(t *testing.T) {
	for _, slot := range spatial() {
		for _, params := range ends(t, "adaptive_pooling") {
			r := newTrial(t, "adaptive_pooling", params, slot)
			r.want(func(x []float64) []float64 { return referenceAdaptive(r, planeOf(slot, x)).example(slot) })
		}
		// Three and four levels fit all of these slots, five do not.
		for _, levels := range []float64{3, 3.5, 4} {
			r := newTrial(t, "feature_pyramid", map[string]float64{"levels": levels}, slot)
			r.want(func(x []float64) []float64 { return referencePyramid(r, planeOf(slot, x)).example(slot) })
		}
	}
}

func referenceAdaptive(r *trial, p plane) plane {
	size := round(r.params["output_size"])
	h := size
	if p.h == 1 {
		h = 1
	}
	small, l := p.pooled(h, size), r.layers()
	rows := make(matrix, p.c)
	for c := range rows {
		rows[c] = small.data[c*h*size : (c+1)*h*size]
	}
	small.data = nil
	for _, row := range l.next(l.next(rows).each(relu)) {
		small.data = append(small.data, row...)
	}
	return p.plus(small.stretched(p.h, p.w))
}

func referencePyramid(r *trial, p plane) plane {
	w, b := r.role("kernel"), r.role("bias")
	take := func() (weight, bias *kernel.Tensor) {
		weight, bias, w, b = w[0], b[0], w[1:], b[1:]
		return weight, bias
	}
	conv := func(p plane) plane {
		weight, bias := take()
		return p.conv(weight, bias, filter{})
	}
	levels := []plane{conv(p).each(relu)}
	for range round(r.params["levels"]) - 1 {
		last := levels[len(levels)-1]
		levels = append(levels, conv(last.pooled((last.h+1)/2, (last.w+1)/2)).each(relu))
	}
	merged := conv(levels[len(levels)-1])
	for i := len(levels) - 2; i >= 0; i-- {
		merged = conv(levels[i]).plus(merged.stretched(levels[i].h, levels[i].w))
	}
	return p.plus(conv(merged))
}
