package kernel

import (
	"math"
	"math/rand/v2"
)

// Train puts the tape in training mode from the next operation on: dropout
// draws its noise from rng, and batch normalisation uses the statistics of the
// batch and moves the running ones. A nil rng leaves training mode. Reset keeps
// the mode.
func (t *Tape) Train(rng *rand.Rand) { t.rng = rng }

// Training reports whether the tape is in training mode.
func (t *Tape) Training() bool { return t.rng != nil }

// DropoutNoise sets each element to 0 with probability ratio and scales the
// others by 1/(1-ratio) in training mode (Srivastava et al. 2014); outside of
// it, it is the identity. ratio is from 0 up to 1.
func (t *Tape) DropoutNoise(x Value, ratio float32) (Value, error) {
	if !(ratio >= 0 && ratio < 1) {
		return Value{}, shapeError("dropout", "ratio %v", ratio)
	}
	if !t.Training() || ratio == 0 {
		return t.same("dropout", x)
	}
	n, out, err := t.record("dropout", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	n.allocate(src.Shape...)
	n.back = backNoise
	n.saved = resize(n.saved, len(src.Data))
	kept := 1 / (1 - ratio)
	for i, v := range src.Data {
		n.saved[i], n.value.Data[i] = 0, 0
		if t.rng.Float32() >= ratio {
			n.saved[i], n.value.Data[i] = kept, kept*v
		}
	}
	return out, nil
}

func backNoise(n *node) {
	dx := n.in[0].grad.Data
	for i, g := range n.grad.Data {
		dx[i] += n.saved[i] * g
	}
}

// BatchNormTraining normalises every channel (dimension 1) of x by the mean and
// variance of the batch, then scales and shifts it (Ioffe and Szegedy 2015).
func (t *Tape) BatchNormTraining(x, scale, bias Value, epsilon float32) (Value, error) {
	n, out, err := t.record("batchnorm", x, scale, bias)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	if err := checkChannels(n); err != nil {
		return Value{}, err
	}
	n.allocate(src.Shape...)
	n.back = backBatchNormTraining
	n.saved = resize(n.saved, 3*src.Shape[1])
	for c := range src.Shape[1] {
		n.normalizeChannel(c, epsilon)
	}
	return out, nil
}

// normalizeChannel computes one channel and saves its mean, variance and
// inverse deviation.
func (n *node) normalizeChannel(c int, epsilon float32) {
	x, count, total := n.in[0].value.Data, 0, 0.0
	n.eachRunOf(c, func(at, length int) {
		for _, v := range x[at : at+length] {
			total += float64(v)
		}
		count += length
	})
	mean, squares := total/float64(max(count, 1)), 0.0
	n.eachRunOf(c, func(at, length int) {
		for _, v := range x[at : at+length] {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
	})
	variance := squares / float64(max(count, 1))
	inverse := 1 / math.Sqrt(variance+float64(epsilon))
	n.saved[3*c], n.saved[3*c+1], n.saved[3*c+2] = float32(mean), float32(variance), float32(inverse)
	scale, bias := n.in[1].value.Data[c], n.in[2].value.Data[c]
	n.eachRunOf(c, func(at, length int) {
		for i := at; i < at+length; i++ {
			n.value.Data[i] = (x[i]-float32(mean))*float32(inverse)*scale + bias
		}
	})
}

// eachRunOf visits the run of elements of one channel in every sample.
func (n *node) eachRunOf(c int, visit func(at, length int)) {
	shape := n.in[0].value.Shape
	length := sizeOf(shape[2:])
	for sample := range shape[0] {
		visit((sample*shape[1]+c)*length, length)
	}
}

func backBatchNormTraining(n *node) {
	x := n.in[0]
	for c := range x.value.Shape[1] {
		mean, inverse := n.saved[3*c], n.saved[3*c+2]
		total, along, count := 0.0, 0.0, 0 // sums of dy and of dy * normalised x
		n.eachRunOf(c, func(at, length int) {
			for i := at; i < at+length; i++ {
				total += float64(n.grad.Data[i])
				along += float64(n.grad.Data[i]) * float64((x.value.Data[i]-mean)*inverse)
			}
			count += length
		})
		n.in[1].addGrad(c, float32(along))
		n.in[2].addGrad(c, float32(total))
		if !x.hasGrad {
			continue
		}
		factor := n.in[1].value.Data[c] * inverse
		center, slope := float32(total/float64(count)), float32(along/float64(count))
		n.eachRunOf(c, func(at, length int) {
			for i := at; i < at+length; i++ {
				normal := (x.value.Data[i] - mean) * inverse
				x.grad.Data[i] += factor * (n.grad.Data[i] - center - slope*normal)
			}
		})
	}
}

// moveStatistics moves running statistics towards those of the batch that n
// normalised: momentum is the share that stays.
func (n *node) moveStatistics(mean, variance []float32, momentum float32) {
	for c := range mean {
		mean[c] = momentum*mean[c] + (1-momentum)*n.saved[3*c]
		variance[c] = momentum*variance[c] + (1-momentum)*n.saved[3*c+1]
	}
}

// Inference runs operations outside of training mode, whatever mode the tape is
// in, and leaves the mode as it was.
func (t *Tape) Inference(run func()) {
	rng := t.rng
	t.rng = nil
	run()
	t.rng = rng
}
