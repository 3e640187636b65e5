package kernel

import "slices"

// bindBatchNorm runs with the running statistics, and on a tape in training
// mode with those of the batch, which it moves the instance's running ones
// towards. Statistics are never trained by gradient. A channel of one element
// has no variance and keeps to the running ones.
func bindBatchNorm(b *binding) (apply, error) {
	epsilon, momentum := b.epsilon(), b.float("momentum", 0.9)
	if momentum < 0 || momentum > 1 {
		return nil, refuse("momentum %v, allowed are 0 to 1", momentum)
	}
	if b.flag("training_mode", 0) {
		return nil, refuse("batch normalisation in training mode")
	}
	if err := b.batchNormParameters(); err != nil {
		return nil, err
	}
	b.yields(b.shape(0))
	return result(func(t *Tape, in []Value) (Value, error) {
		if t.Training() && in[0].Tensor().Size() >= 2*in[1].Tensor().Size() {
			return t.batchNormStep(in, epsilon, momentum)
		}
		return t.BatchNorm(in[0], in[1], in[2], in[3], in[4], epsilon)
	}), nil
}

func (b *binding) batchNormParameters() error {
	x := b.shape(0)
	if len(x) < 2 {
		return refuse("%v has no channels", x)
	}
	for i := 1; i < 5; i++ {
		if !slices.Equal(b.shape(i), x[1:2]) || x[1] == batch {
			return refuse("input %d is %v, want [%d]", i, b.shape(i), x[1])
		}
	}
	for _, s := range b.in[3:] {
		if s.value == nil {
			return refuse("statistics %q must be an initialiser", s.name)
		}
		s.frozen, s.statistic = true, true
	}
	if slices.Min(b.in[4].value.Data) < 0 {
		return refuse("variance %q is negative", b.in[4].name)
	}
	return nil
}

// batchNormStep is the training form. A single element of a channel has no
// variance, so the caller does not come here with one.
func (t *Tape) batchNormStep(in []Value, epsilon, momentum float32) (Value, error) {
	out, err := t.BatchNormTraining(in[0], in[1], in[2], epsilon)
	if err != nil {
		return Value{}, err
	}
	n, err := t.node(out)
	if err != nil {
		return Value{}, err
	}
	n.moveStatistics(in[3].Tensor().Data, in[4].Tensor().Data, momentum)
	return out, nil
}
