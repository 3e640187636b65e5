package tolaria

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// Dataset is a labelled set of examples.
type Dataset struct {
	// Inputs has the shape [examples, features].
	Inputs *kernel.Tensor
	// Labels has one class index an example.
	Labels []int
}

// Len is the number of examples.
func (d *Dataset) Len() int { return len(d.Labels) }

// Features is the width of an example.
func (d *Dataset) Features() int { return d.Inputs.Cols() }

func (d *Dataset) example(i int) []float32 {
	features := d.Features()
	return d.Inputs.Data[i*features : (i+1)*features]
}

// span is the examples from start up to end, in the same storage.
func (d *Dataset) span(start, end int) *Dataset {
	features := d.Features()
	return &Dataset{
		Inputs: kernel.FromSlice(d.Inputs.Data[start*features:end*features], end-start, features),
		Labels: d.Labels[start:end],
	}
}

// Split is a dataset divided for honest measurement: training fits the weights,
// validation steers growth, and test is looked at only to report.
type Split struct {
	Train, Validation, Test *Dataset
}

// Data is what a trainer learns from.
type Data struct {
	Split

	// Vary, when set, writes a variation of a training example into to, another
	// one each time the example is used.
	Vary func(rng *rand.Rand, to, from []float32)
}

// ErrData is wrapped by what is wrong with the data of a trainer.
var ErrData = errors.New("training data")

// check returns the width of an example and the number of classes.
func (d *Data) check() (features, classes int, err error) {
	for _, set := range []*Dataset{d.Train, d.Validation, d.Test} {
		if set == nil || set.Len() == 0 || set.Inputs == nil || set.Inputs.Rows() != set.Len() {
			return 0, 0, fmt.Errorf("%w: a set is empty, or has not one label an example", ErrData)
		}
		if slices.Min(set.Labels) < 0 {
			return 0, 0, fmt.Errorf("%w: a label below 0", ErrData)
		}
		classes = max(classes, slices.Max(set.Labels)+1)
		if features == 0 {
			features = set.Features()
		}
		if set.Features() != features || features == 0 {
			return 0, 0, fmt.Errorf("%w: examples of %d and of %d features", ErrData, features, set.Features())
		}
	}
	return features, max(classes, 2), nil
}

// Split shuffles the set with rng and divides it: 60 % train, 20 % validation,
// 20 % test.
func (d *Dataset) Split(rng *rand.Rand) Split {
	order := rng.Perm(d.Len())
	train, validation := d.Len()*6/10, d.Len()*8/10
	return Split{
		Train:      d.pick(order[:train], nil, nil),
		Validation: d.pick(order[train:validation], nil, nil),
		Test:       d.pick(order[validation:], nil, nil),
	}
}

// varied is a copy of the set with each example varied once.
func (d *Dataset) varied(rng *rand.Rand, vary func(rng *rand.Rand, to, from []float32)) *Dataset {
	places := make([]int, d.Len())
	for i := range places {
		places[i] = i
	}
	return d.pick(places, rng, vary)
}

// pick copies the examples at the given places, in that order, each varied when
// vary is not nil.
func (d *Dataset) pick(places []int, rng *rand.Rand, vary func(rng *rand.Rand, to, from []float32)) *Dataset {
	picked := &Dataset{Inputs: kernel.NewTensor(len(places), d.Features()), Labels: make([]int, len(places))}
	for i, place := range places {
		if vary != nil {
			vary(rng, picked.example(i), d.example(place))
		} else {
			copy(picked.example(i), d.example(place))
		}
		picked.Labels[i] = d.Labels[place]
	}
	return picked
}

// batches calls visit with consecutive mini-batches of the shuffled training
// set. The last batch may be smaller.
func (d *Data) batches(rng *rand.Rand, size int, visit func(*Dataset) error) error {
	order := rng.Perm(d.Train.Len())
	for places := range slices.Chunk(order, size) {
		if err := visit(d.Train.pick(places, rng, d.Vary)); err != nil {
			return err
		}
	}
	return nil
}
