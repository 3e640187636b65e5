package kernel

import (
	"math"
	"slices"
)

// Softmax is exp(x)/sum(exp(x)) along axis, negative axes counting from the end.
func (t *Tape) Softmax(x Value, axis int) (Value, error) {
	n, out, err := t.record("softmax", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	axis, ok := resolveAxis(axis, len(src.Shape))
	if !ok {
		return Value{}, shapeError("softmax", "axis %d of %v", axis, src.Shape)
	}
	n.allocate(src.Shape...)
	n.ints, n.back = append(n.ints, axis), backSoftmax
	n.eachLine(softmaxLine)
	return out, nil
}

// eachLine visits the start, length and stride of every line of the value along
// the node's axis; lines may be visited side by side. visit is no closure, so
// that small values allocate nothing.
func (n *node) eachLine(visit func(n *node, at, length, stride int)) {
	shape, axis := n.value.Shape, n.ints[0]
	length, stride, lines := shape[axis], sizeOf(shape[axis+1:]), sizeOf(shape[:axis])*sizeOf(shape[axis+1:])
	work := costly * lines * length
	if work < laneWork {
		n.lines(0, lines, length, stride, visit)
		return
	}
	eachPart(lines, int64(work), func(_, from, to int) { n.lines(from, to, length, stride, visit) })
}

func (n *node) lines(from, to, length, stride int, visit func(n *node, at, length, stride int)) {
	for line := from; line < to; line++ {
		visit(n, line/stride*length*stride+line%stride, length, stride)
	}
}

// softmaxLine subtracts the largest element first so that exp cannot overflow.
func softmaxLine(n *node, at, length, stride int) {
	if length == 0 {
		return
	}
	x, y := n.in[0].value.Data[at:], n.value.Data[at:]
	top := x[0]
	for i := range length {
		top = max(top, x[i*stride])
	}
	total := 0.0
	for i := range length {
		e := math.Exp(float64(x[i*stride] - top))
		y[i*stride] = float32(e)
		total += e
	}
	for i := range length {
		y[i*stride] = float32(float64(y[i*stride]) / total)
	}
}

func backSoftmax(n *node) { n.eachLine(backSoftmaxLine) }

func backSoftmaxLine(n *node, at, length, stride int) {
	dx, dy, y := n.in[0].grad.Data, n.grad.Data, n.value.Data
	dot := 0.0
	for i := range length {
		dot += float64(dy[at+i*stride]) * float64(y[at+i*stride])
	}
	for i := range length {
		dx[at+i*stride] += y[at+i*stride] * (dy[at+i*stride] - float32(dot))
	}
}

// LayerNorm normalises the last dimension to mean 0 and variance 1, then scales
// and shifts it (Ba, Kiros and Hinton 2016). The zero Value as bias means none.
func (t *Tape) LayerNorm(x, scale, bias Value, epsilon float32) (Value, error) {
	return t.layerNorm(x, scale, bias, -1, epsilon)
}

// layerNorm normalises all dimensions from axis on together; scale and bias
// have exactly the shape of those dimensions.
func (t *Tape) layerNorm(x, scale, bias Value, axis int, epsilon float32) (Value, error) {
	n, out, err := t.recordOptional("layernorm", bias, x, scale)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	axis, ok := resolveAxis(axis, len(src.Shape))
	if !ok {
		return Value{}, shapeError("layernorm", "axis %d of %v", axis, src.Shape)
	}
	for _, p := range n.in[1:] {
		if !slices.Equal(p.value.Shape, src.Shape[axis:]) {
			return Value{}, shapeError("layernorm", "parameter %v for %v", p.value.Shape, src.Shape[axis:])
		}
	}
	rows, width := sizeOf(src.Shape[:axis]), sizeOf(src.Shape[axis:])
	n.allocate(src.Shape...)
	n.ints, n.back = append(n.ints, rows, width), backLayerNorm
	n.saved = resize(n.saved, 2*rows)
	for r := range rows {
		n.normalizeRow(r, width, epsilon)
	}
	return out, nil
}

// normalizeRow computes one row and saves its mean and inverse deviation.
func (n *node) normalizeRow(r, width int, epsilon float32) {
	x, y, scale := n.in[0].value.Data[r*width:][:width], n.value.Data[r*width:][:width], n.in[1].value.Data
	mean, inverse := moments(x, epsilon)
	n.saved[2*r], n.saved[2*r+1] = mean, inverse
	for i, v := range x {
		y[i] = (v - mean) * inverse * scale[i]
	}
	if len(n.in) > 2 {
		addTo(y, n.in[2].value.Data, 1, 1)
	}
}

// moments are the mean of x and 1/sqrt(variance + epsilon).
func moments(x []float32, epsilon float32) (mean, inverse float32) {
	total := 0.0
	for _, v := range x {
		total += float64(v)
	}
	center := total / float64(len(x))
	squares := 0.0
	for _, v := range x {
		d := float64(v) - center
		squares += d * d
	}
	return float32(center), float32(1 / math.Sqrt(squares/float64(len(x))+float64(epsilon)))
}

func backLayerNorm(n *node) {
	rows, width := n.ints[0], n.ints[1]
	for r := range rows {
		at := r * width
		dy, x := n.grad.Data[at:at+width], n.in[0].value.Data[at:at+width]
		mean, inverse := n.saved[2*r], n.saved[2*r+1]
		if d := n.in[1]; d.hasGrad {
			for i, g := range dy {
				d.grad.Data[i] += g * (x[i] - mean) * inverse
			}
		}
		if len(n.in) > 2 && n.in[2].hasGrad {
			addTo(n.in[2].grad.Data, dy, 1, 1)
		}
		if n.in[0].hasGrad {
			normalizeBack(n.in[0].grad.Data[at:at+width], dy, x, n.in[1].value.Data, mean, inverse)
		}
	}
}

// normalizeBack takes away what of the gradient would only move the row's mean
// or its variance.
func normalizeBack(dx, dy, x, scale []float32, mean, inverse float32) {
	total, along := 0.0, 0.0
	for i, g := range dy {
		d := float64(g) * float64(scale[i])
		total += d
		along += d * float64((x[i]-mean)*inverse)
	}
	width := float64(len(dy))
	shift, tilt := float32(total/width), float32(along/width)
	for i, g := range dy {
		dx[i] += inverse * (g*scale[i] - shift - (x[i]-mean)*inverse*tilt)
	}
}

// BatchNorm normalises each channel (dimension 1) with given statistics, the
// inference form of Ioffe and Szegedy 2015. All parameters are [channels].
func (t *Tape) BatchNorm(x, scale, bias, mean, variance Value, epsilon float32) (Value, error) {
	n, out, err := t.record("batchnorm", x, scale, bias, mean, variance)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	if err := checkChannels(n); err != nil {
		return Value{}, err
	}
	n.allocate(src.Shape...)
	n.scalars[0], n.back = epsilon, backBatchNorm
	n.eachChannel(func(c, at, length int) {
		factor := n.in[1].value.Data[c] * n.inverseDeviation(c)
		for i := at; i < at+length; i++ {
			n.value.Data[i] = (src.Data[i]-n.in[3].value.Data[c])*factor + n.in[2].value.Data[c]
		}
	})
	return out, nil
}

// checkChannels wants one element of every parameter for each channel.
func checkChannels(n *node) error {
	x := n.in[0].value.Shape
	if len(x) < 2 {
		return shapeError("batchnorm", "%v has no channels", x)
	}
	for _, p := range n.in[1:] {
		if len(p.value.Shape) != 1 || p.value.Shape[0] != x[1] {
			return shapeError("batchnorm", "parameter %v for %v", p.value.Shape, x)
		}
	}
	return nil
}

// eachChannel visits the run of elements of every sample and channel.
func (n *node) eachChannel(visit func(c, at, length int)) {
	shape := n.value.Shape
	length := sizeOf(shape[2:])
	for sample := range shape[0] {
		for c := range shape[1] {
			visit(c, (sample*shape[1]+c)*length, length)
		}
	}
}

func (n *node) inverseDeviation(c int) float32 {
	return float32(1 / math.Sqrt(float64(n.in[4].value.Data[c])+float64(n.scalars[0])))
}

func backBatchNorm(n *node) {
	x, scale, mean := n.in[0], n.in[1].value.Data, n.in[3].value.Data
	n.eachChannel(func(c, at, length int) {
		dy, inverse := n.grad.Data[at:at+length], n.inverseDeviation(c)
		total := sum(dy)
		along := float32(0) // sum of dy * normalised x
		for i, g := range dy {
			along += g * (x.value.Data[at+i] - mean[c]) * inverse
		}
		addTo(x.gradFrom(at), dy, scale[c]*inverse, 1)
		n.in[1].addGrad(c, along)
		n.in[2].addGrad(c, total)
		n.in[3].addGrad(c, -total*scale[c]*inverse)
		n.in[4].addGrad(c, -0.5*along*scale[c]*inverse*inverse)
	})
}

func (n *node) addGrad(i int, g float32) {
	if n.hasGrad {
		n.grad.Data[i] += g
	}
}

// resolveAxis turns an axis counted from the end into one from the start.
func resolveAxis(axis, rank int) (int, bool) {
	if axis < 0 {
		axis += rank
	}
	return axis, axis >= 0 && axis < rank && rank <= maxRank
}
