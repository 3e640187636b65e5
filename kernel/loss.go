package kernel

import "math"

// SoftmaxCrossEntropy is the mean over rows of -log softmax(logits)[label], a
// scalar. logits is [N, classes]; labels holds N numbers below classes.
func (t *Tape) SoftmaxCrossEntropy(logits Value, labels []int) (Value, error) {
	n, out, err := t.record("softmaxcrossentropy", logits)
	if err != nil {
		return Value{}, err
	}
	x := &n.in[0].value
	if len(x.Shape) != 2 || x.Shape[0] == 0 || x.Shape[0] != len(labels) {
		return Value{}, shapeError("softmaxcrossentropy", "logits %v with %d labels", x.Shape, len(labels))
	}
	classes := x.Shape[1]
	for i, label := range labels {
		if label < 0 || label >= classes {
			return Value{}, shapeError("softmaxcrossentropy", "label %d of row %d, %d classes", label, i, classes)
		}
	}
	n.allocate()
	n.ints, n.back = append(n.ints, labels...), backCrossEntropy
	n.saved = resize(n.saved, len(x.Data))
	total := 0.0
	for row, label := range labels {
		at := row * classes
		total += crossEntropyRow(n.saved[at:at+classes], x.Data[at:at+classes], label)
	}
	n.value.Data[0] = float32(total / float64(len(labels)))
	return out, nil
}

// crossEntropyRow writes the probabilities of one row and returns its loss,
// from the logits so that a probability of 0 does not make it infinite.
func crossEntropyRow(probabilities, logits []float32, label int) float64 {
	top := logits[0]
	for _, v := range logits {
		top = max(top, v)
	}
	total := 0.0
	for i, v := range logits {
		e := math.Exp(float64(v - top))
		probabilities[i] = float32(e)
		total += e
	}
	for i, p := range probabilities {
		probabilities[i] = float32(float64(p) / total)
	}
	return math.Log(total) - float64(logits[label]-top)
}

func backCrossEntropy(n *node) {
	dx, g := n.in[0].grad.Data, n.grad.Data[0]/float32(len(n.ints))
	classes := n.in[0].value.Shape[1]
	for row, label := range n.ints {
		at := row * classes
		for i, p := range n.saved[at : at+classes] {
			dx[at+i] += g * p
		}
		dx[at+label] -= g
	}
}
