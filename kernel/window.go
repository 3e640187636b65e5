package kernel

import "slices"

// Window is how a convolution or a pooling moves over the one or two dimensions
// after the channels. A nil list means the default: strides and dilations of 1,
// no padding. Kernel is for pooling; a convolution takes it from its weights.
type Window struct {
	Kernel    []int
	Strides   []int
	Dilations []int
	Pads      []int // begin of every dimension, then end of every dimension
	Groups    int   // 0 means 1
}

// extent is a window resolved along one dimension.
type extent struct {
	in, out, kernel, stride, dilation, pad int
}

// geometry is a window resolved over a plane; one dimension is a plane of
// height 1.
type geometry struct {
	rows, cols extent
}

const maxSpace = 2 // dimensions after the channels that a window moves over

// geometry resolves the window over a space. Its numbers are within 0..maxDim
// before anything is multiplied, so nothing wraps round.
func (w Window) geometry(space, kernel []int) (geometry, bool) {
	n := len(space)
	if n < 1 || n > maxSpace || len(kernel) != n {
		return geometry{}, false
	}
	g := geometry{rows: extent{in: 1, out: 1, kernel: 1, stride: 1, dilation: 1}}
	for i := range n {
		e, ok := w.extent(i, n, space[i], kernel[i])
		if !ok {
			return geometry{}, false
		}
		if i == n-1 {
			g.cols = e
		} else {
			g.rows = e
		}
	}
	return g, true
}

func (w Window) extent(i, n, in, kernel int) (extent, bool) {
	stride, okStride := entry(w.Strides, i, n, 1)
	dilation, okDilation := entry(w.Dilations, i, n, 1)
	before, okBefore := entry(w.Pads, i, 2*n, 0)
	after, okAfter := entry(w.Pads, n+i, 2*n, 0)
	e := extent{in: in, kernel: kernel, stride: stride, dilation: dilation, pad: before}
	if !okStride || !okDilation || !okBefore || !okAfter {
		return e, false
	}
	if min(in, kernel, stride, dilation) < 1 || max(in, kernel, stride, dilation, before, after) > maxDim {
		return e, false
	}
	room := in + before + after - (kernel-1)*dilation - 1
	e.out = room/stride + 1
	return e, room >= 0
}

// entry is entry i of a list of n that may be left out.
func entry(list []int, i, n, absent int) (int, bool) {
	if list == nil {
		return absent, true
	}
	if len(list) != n || list[i] < 0 {
		return 0, false
	}
	return list[i], true
}

func (w Window) groups() int { return max(w.Groups, 1) }

// clone keeps a caller's lists from changing a recorded or bound window.
func (w Window) clone() Window {
	w.Kernel, w.Strides = slices.Clone(w.Kernel), slices.Clone(w.Strides)
	w.Dilations, w.Pads = slices.Clone(w.Dilations), slices.Clone(w.Pads)
	return w
}

// positions and taps are how many places the window takes, and how many
// elements it covers in each.
func (g geometry) positions() int { return g.rows.out * g.cols.out }
func (g geometry) taps() int      { return g.rows.kernel * g.cols.kernel }

// inside is the range of output positions whose tap k falls on an element.
func (e extent) inside(k int) (from, to int) {
	first := k*e.dilation - e.pad // the element under the tap at output 0
	if first < 0 {
		from = (-first + e.stride - 1) / e.stride
	}
	if last := e.in - 1 - first; last >= 0 {
		to = min(last/e.stride+1, e.out)
	}
	return from, max(to, from)
}

// plain reports whether the window is each element once, in order.
func (e extent) plain() bool {
	return e.kernel == 1 && e.stride == 1 && e.pad == 0 && e.out == e.in
}

// at is the element under tap k at an output position.
func (e extent) at(position, k int) int { return position*e.stride + k*e.dilation - e.pad }
