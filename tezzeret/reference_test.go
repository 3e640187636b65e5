package tezzeret_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// trial is one blueprint compiled with some parameters for a slot, and run on
// three examples.
type trial struct {
	t        *testing.T
	name     string
	params   map[string]float64
	slot     tezzeret.Slot
	instance *kernel.Instance
	x, y     *kernel.Tensor
}

func newTrial(t *testing.T, name string, params map[string]float64, slot tezzeret.Slot) *trial {
	t.Helper()
	d := find(t, name)
	c, err := slotCompiler(slot).CompileConservative(t.Context(), d, params)
	if err != nil {
		t.Fatal(err)
	}
	r := &trial{t: t, name: name, params: c.Parameters, slot: slot, instance: instantiate(t, c), x: normal(3, slot)}
	// Past the gentle start, so that a mistake in a branch is seen.
	for _, p := range r.instance.Parameters() {
		fill := normal(1, tezzeret.Slot{Features: len(p.Value.Data)})
		for i := range p.Value.Data {
			p.Value.Data[i] += 0.2 * fill.Data[i]
		}
	}
	r.y = forward(t, r.instance, r.x)
	return r
}

// want compares every example with what reference makes of it alone.
func (r *trial) want(reference func(x []float64) []float64) {
	r.t.Helper()
	size := len(r.x.Data) / 3
	var want []float64
	for e := range 3 {
		x := make([]float64, size)
		for i := range x {
			x[i] = float64(r.x.Data[e*size+i])
		}
		want = append(want, reference(x)...)
	}
	wantClose(r.t, fmt.Sprintf("%s %v in %s", r.name, r.params, r.slot), r.y, want, 2e-5)
}

func (r *trial) role(role string) []*kernel.Tensor { return parameters(r.instance, role) }

// plane is [channels, height, width] as plain numbers; a line has height 1.
type plane struct {
	c, h, w int
	data    []float64
}

// planeOf reads one example of a slot channels first.
func planeOf(slot tezzeret.Slot, x []float64) plane {
	switch slot.Kind() {
	case tezzeret.KindImage:
		return plane{slot.Channels, slot.Height, slot.Width, x}
	case tezzeret.KindSequence:
		p := plane{slot.Width, 1, slot.Sequence, make([]float64, len(x))}
		for t := range p.w {
			for c := range p.c {
				p.data[c*p.w+t] = x[t*p.c+c]
			}
		}
		return p
	default:
		return plane{1, 1, slot.Features, x}
	}
}

// example writes a plane in the order of the slot.
func (p plane) example(slot tezzeret.Slot) []float64 {
	if slot.Kind() != tezzeret.KindSequence {
		return p.data
	}
	x := make([]float64, len(p.data))
	for t := range p.w {
		for c := range p.c {
			x[t*p.c+c] = p.data[c*p.w+t]
		}
	}
	return x
}

func (p plane) at(c, y, x int) (v float64, inside bool) {
	if y < 0 || y >= p.h || x < 0 || x >= p.w {
		return 0, false
	}
	return p.data[(c*p.h+y)*p.w+x], true
}

func (p plane) each(f func(v float64) float64) plane {
	p.data = apply(append([]float64{}, p.data...), f)
	return p
}

func (p plane) plus(q plane) plane {
	p.data = plus(p.data, q.data, 1)
	return p
}

// filter is how a reference convolution moves.
type filter struct {
	dilation, groups int
	causal           bool
}

// conv is the definition of a convolution, one output after another.
func (p plane) conv(weight, bias *kernel.Tensor, f filter) plane {
	dilation, groups := max(1, f.dilation), max(1, f.groups)
	out, in, kw := weight.Shape[0], weight.Shape[1], weight.Shape[len(weight.Shape)-1]
	kh := 1
	if len(weight.Shape) == 4 {
		kh = weight.Shape[2]
	}
	before := func(k int) int {
		if f.causal {
			return (k - 1) * dilation
		}
		return (k - 1) * dilation / 2
	}
	q := plane{out, p.h, p.w, make([]float64, out*p.h*p.w)}
	for o := range out {
		for y := range p.h {
			for x := range p.w {
				sum := float64(bias.Data[o])
				for i := range in {
					for ky := range kh {
						for kx := range kw {
							channel := o/(out/groups)*in + i
							v, _ := p.at(channel, y+ky*dilation-before(kh), x+kx*dilation-before(kw))
							sum += v * float64(weight.Data[((o*in+i)*kh+ky)*kw+kx])
						}
					}
				}
				q.data[(o*p.h+y)*p.w+x] = sum
			}
		}
	}
	return q
}

// matrix is rows of numbers.
type matrix [][]float64

// tokensOf reads one example of a slot as a sequence.
func tokensOf(slot tezzeret.Slot, x []float64, width int) matrix {
	if slot.Kind() == tezzeret.KindImage {
		p, n := planeOf(slot, x), slot.Height*slot.Width
		m := make(matrix, n)
		for i := range m {
			for c := range p.c {
				m[i] = append(m[i], p.data[c*n+i])
			}
		}
		return m
	}
	m := make(matrix, len(x)/width)
	for i := range m {
		m[i] = x[i*width : (i+1)*width]
	}
	return m
}

// example writes a sequence in the order of the slot.
func (m matrix) example(slot tezzeret.Slot) []float64 {
	var x []float64
	if slot.Kind() == tezzeret.KindImage {
		for c := range m[0] {
			for i := range m {
				x = append(x, m[i][c])
			}
		}
		return x
	}
	for _, row := range m {
		x = append(x, row...)
	}
	return x
}

// linear is m·w + b.
func (m matrix) linear(w, b *kernel.Tensor) matrix {
	out := make(matrix, len(m))
	for i, row := range m {
		out[i] = affine(row, w, b)
	}
	return out
}

func (m matrix) plus(n matrix) matrix {
	out := make(matrix, len(m))
	for i := range m {
		out[i] = plus(m[i], n[i], 1)
	}
	return out
}

func (m matrix) each(f func(v float64) float64) matrix {
	out := make(matrix, len(m))
	for i, row := range m {
		out[i] = apply(append([]float64{}, row...), f)
	}
	return out
}

// columns cuts the columns of one head out.
func (m matrix) columns(from, to int) matrix {
	out := make(matrix, len(m))
	for i, row := range m {
		out[i] = row[from:to]
	}
	return out
}

// attend is the definition of attention in one head; sees hides pairs, nil
// hides none.
func attend(q, k, v matrix, sees func(i, j int) bool) matrix {
	out := make(matrix, len(q))
	for i := range q {
		weights, sum := make([]float64, len(k)), 0.0
		for j := range k {
			if sees != nil && !sees(i, j) {
				continue
			}
			score := 0.0
			for d := range q[i] {
				score += q[i][d] * k[j][d]
			}
			weights[j] = math.Exp(score / math.Sqrt(float64(len(q[i]))))
			sum += weights[j]
		}
		out[i] = make([]float64, len(v[0]))
		for j, w := range weights {
			for d := range out[i] {
				out[i][d] += w / sum * v[j][d]
			}
		}
	}
	return out
}

// inHeads attends in each head and joins the heads side by side.
func inHeads(q, k, v matrix, heads int, sees func(i, j int) bool) matrix {
	width := len(q[0]) / heads
	out := make(matrix, len(q))
	for h := range heads {
		from, to := h*width, (h+1)*width
		for i, row := range attend(q.columns(from, to), k.columns(from, to), v.columns(from, to), sees) {
			out[i] = append(out[i], row...)
		}
	}
	return out
}

// weighed are linear layers in the order of the file.
type weighed struct{ w, b []*kernel.Tensor }

// next applies the first layer that is left.
func (l *weighed) next(m matrix) matrix {
	out := m.linear(l.w[0], l.b[0])
	l.w, l.b = l.w[1:], l.b[1:]
	return out
}

// multiHead is x attending to context with the next four layers.
func (l *weighed) multiHead(x, context matrix, heads int, sees func(i, j int) bool) matrix {
	q, k, v := l.next(x), l.next(context), l.next(context)
	return l.next(inHeads(q, k, v, heads, sees))
}
