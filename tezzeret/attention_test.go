package tezzeret_test

import (
	"math"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// tokenSlots are slots of every form, with the width of one token.
func tokenSlots() map[tezzeret.Slot]int {
	return map[tezzeret.Slot]int{
		{Features: 32}:                     4, // 8 tokens of 4
		{Sequence: 7, Width: 6}:            6,
		{Channels: 5, Height: 3, Width: 4}: 5,
	}
}

func (r *trial) layers() *weighed { return &weighed{r.role("weight"), r.role("bias")} }

func rowsOf(t *kernel.Tensor) matrix {
	m := make(matrix, t.Shape[0])
	for i := range m {
		for _, v := range t.Data[i*t.Shape[1] : (i+1)*t.Shape[1]] {
			m[i] = append(m[i], float64(v))
		}
	}
	return m
}

func TestAttentionsAreTheirDefinitions(t *testing.T) {
	references := map[string]func(r *trial, x matrix) matrix{
		"multi_head_attention_4": referenceMultiHead,
		"multi_head_attention_8": referenceMultiHead,
		"cross_attention":        referenceCross,
		"attention_single_head":  referenceSingleHead,
		"transformer_block":      referenceTransformer,
		"channel_attention":      referenceChannels,
		"graph_attention":        referenceGraph,
		"non_local_block":        referenceNonLocal,
		"conv_transformer":       referenceConvTransformer,
		"hierarchical_attention": referenceHierarchy,
	}
	for name, reference := range references {
		for slot, width := range tokenSlots() {
			if name == "non_local_block" && slot.Kind() == tezzeret.KindFeatures {
				width = 1
			}
			for _, params := range ends(t, name) {
				r := newTrial(t, name, params, slot)
				r.want(func(x []float64) []float64 {
					return reference(r, tokensOf(slot, x, width)).example(slot)
				})
			}
		}
	}
}

func referenceMultiHead(r *trial, x matrix) matrix {
	heads := round(r.params["heads"])
	if inner := r.role("weight")[0].Shape[1]; inner%heads != 0 || inner/heads < 4 {
		r.t.Errorf("%d inner features in %d heads", inner, heads)
	}
	return x.plus(r.layers().multiHead(x, x, heads, nil))
}

func referenceCross(r *trial, x matrix) matrix {
	heads, induced := round(r.params["heads"]), r.role("inducing")[0]
	width := induced.Shape[2]
	queries := make(matrix, induced.Shape[1])
	for h := range heads {
		for i := range queries {
			for d := range width {
				queries[i] = append(queries[i], float64(induced.Data[(h*len(queries)+i)*width+d]))
			}
		}
	}
	l := r.layers()
	k, v := l.next(x), l.next(x)
	context := l.next(inHeads(queries, k, v, heads, nil))
	return x.plus(l.multiHead(x, context, heads, nil))
}

// stretched is x read at n evenly spread places, with straight lines between.
func stretched(x matrix, n int) matrix {
	out := make(matrix, n)
	for i := range out {
		place := (float64(i)+0.5)*float64(len(x))/float64(n) - 0.5
		place = math.Min(math.Max(place, 0), float64(len(x)-1))
		left := int(place)
		right, share := min(left+1, len(x)-1), place-math.Floor(place)
		for d := range x[0] {
			out[i] = append(out[i], (1-share)*x[left][d]+share*x[right][d])
		}
	}
	return out
}

func referenceSingleHead(r *trial, x matrix) matrix {
	place := r.role("position")[0]
	if place.Shape[0] != round(r.params["sequence_length"]) {
		r.t.Errorf("%d positions for %v", place.Shape[0], r.params)
	}
	context := stretched(x, place.Shape[0]).plus(rowsOf(place))
	return x.plus(r.layers().multiHead(x, context, 1, nil))
}

func referenceTransformer(r *trial, x matrix) matrix {
	l, gamma, beta := r.layers(), r.role("gamma"), r.role("beta")
	if len(gamma) != 2*round(r.params["layers"]) {
		r.t.Errorf("%d norms for %v", len(gamma), r.params)
	}
	for i := 0; i < len(gamma); i += 2 {
		n := layerNorm(x, gamma[i], beta[i])
		x = x.plus(l.multiHead(n, n, 2, nil))
		x = x.plus(l.next(l.next(layerNorm(x, gamma[i+1], beta[i+1])).each(gelu)))
	}
	return x
}

func referenceChannels(r *trial, x matrix) matrix {
	heads, l := round(r.params["heads"]), r.layers()
	q, k, v := l.next(x), l.next(x), l.next(x)
	width := len(q[0]) / heads
	mixed := make(matrix, len(x))
	for h := range heads {
		from, to := h*width, (h+1)*width
		out := attend(q.columns(from, to).transposed(), k.columns(from, to).transposed(),
			v.columns(from, to).transposed(), nil).transposed()
		for i, row := range out {
			mixed[i] = append(mixed[i], row...)
		}
	}
	return x.plus(l.next(mixed))
}

// away is how far apart two positions are along each axis.
func away(slot tezzeret.Slot, i, j int) (dy, dx int) {
	if slot.Kind() == tezzeret.KindImage {
		return j/slot.Width - i/slot.Width, j%slot.Width - i%slot.Width
	}
	return 0, j - i
}

func referenceGraph(r *trial, x matrix) matrix {
	l, hops := r.layers(), round(r.params["hops"])
	h := l.next(x)
	own, other := make([]float64, len(h)), make([]float64, len(h))
	for i, row := range h {
		for d, v := range row {
			own[i] += v * float64(r.role("source")[0].Data[d])
			other[i] += v * float64(r.role("target")[0].Data[d])
		}
	}
	gathered := make(matrix, len(h))
	for i := range h {
		gathered[i] = make([]float64, len(h[0]))
		weights, sum := make([]float64, len(h)), 0.0
		for j := range h {
			dy, dx := away(r.slot, i, j)
			if max(dy, -dy)+max(dx, -dx) > hops {
				continue
			}
			score := own[i] + other[j]
			if score < 0 {
				score *= 0.2
			}
			weights[j] = math.Exp(score)
			sum += weights[j]
		}
		for j, w := range weights {
			gathered[i] = plus(gathered[i], h[j], w/sum)
		}
	}
	return x.plus(l.next(gathered))
}

func referenceNonLocal(r *trial, x matrix) matrix {
	size := round(r.params["window"])
	near := func(d int) bool { return d >= -((size-1)/2) && d <= size/2 }
	return x.plus(r.layers().multiHead(x, x, 1, func(i, j int) bool {
		dy, dx := away(r.slot, i, j)
		return near(dy) && near(dx)
	}))
}

func referenceConvTransformer(r *trial, x matrix) matrix {
	w, b := r.role("kernel")[0], r.role("bias")
	if taps := w.Shape[2]; taps != round(r.params["kernel"]) {
		r.t.Errorf("%d taps for %v", taps, r.params)
	}
	p := plane{len(x[0]), 1, len(x), nil}
	if r.slot.Kind() == tezzeret.KindImage {
		p.h, p.w = r.slot.Height, r.slot.Width
	}
	for _, row := range x.transposed() {
		p.data = append(p.data, row...)
	}
	near := p.conv(w, b[0], filter{groups: p.c}).each(func(v float64) float64 { return v * sigmoid(v) })
	rows := make(matrix, p.c)
	for c := range rows {
		rows[c] = near.data[c*len(x) : (c+1)*len(x)]
	}
	l := &weighed{r.role("weight"), b[1:]}
	x = x.plus(l.next(rows.transposed()))
	// The bias of the norm stands among the betas, not the biases.
	n := layerNorm(x, r.role("gamma")[0], r.role("beta")[0])
	return x.plus(l.multiHead(n, n, 2, nil))
}

func referenceHierarchy(r *trial, x matrix) matrix {
	height, width := 1, len(x)
	if r.slot.Kind() == tezzeret.KindImage {
		height, width = r.slot.Height, r.slot.Width
	}
	mark := rowsOf(r.role("level")[0])
	if len(mark) != round(r.params["levels"]) {
		r.t.Errorf("%d levels for %v", len(mark), r.params)
	}
	var context matrix
	for level := range mark {
		side := 1 << level
		for top := 0; top < height; top += side {
			for left := 0; left < width; left += side {
				sum, n := make([]float64, len(x[0])), 0.0
				for y := top; y < min(top+side, height); y++ {
					for c := left; c < min(left+side, width); c++ {
						sum, n = plus(sum, x[y*width+c], 1), n+1
					}
				}
				context = append(context, plus(mark[level], sum, 1/n))
			}
		}
	}
	return x.plus(r.layers().multiHead(x, context, 2, nil))
}

func (m matrix) transposed() matrix {
	out := make(matrix, len(m[0]))
	for i := range m {
		for j, v := range m[i] {
			out[j] = append(out[j], v)
		}
	}
	return out
}

func layerNorm(m matrix, gamma, beta *kernel.Tensor) matrix {
	out := make(matrix, len(m))
	for i, row := range m {
		mean, variance := 0.0, 0.0
		for _, v := range row {
			mean += v / float64(len(row))
		}
		for _, v := range row {
			variance += (v - mean) * (v - mean) / float64(len(row))
		}
		for j, v := range row {
			out[i] = append(out[i], (v-mean)/math.Sqrt(variance+1e-5)*float64(gamma.Data[j])+float64(beta.Data[j]))
		}
	}
	return out
}
