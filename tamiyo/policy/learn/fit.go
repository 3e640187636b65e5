package learn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/kernel/adam"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
)

const (
	hidden = 16
	steps  = 1200
	batch  = 128
	rate   = 0.01
	decay  = 0.1 // of weights, beside the rate: what says little of what seeds come to goes
	folds  = 5
	// leastRuns and leastChoices are the fewest by which a policy is judged.
	leastRuns    = 10
	leastChoices = 50
	// leastSeen is the share of all decisions that a policy is fitted to before it is judged.
	leastSeen = 0.25
)

// ErrTooLittle says that too little is recorded to judge a policy by.
var ErrTooLittle = errors.New("too little is recorded")

// Fit fits a policy to all runs, and judges fits by runs that they had not seen, each by what
// was known before. Equal data and seeds give the same. ErrTooLittle when there is not enough to judge by.
func (d *Data) Fit(ctx context.Context, seed uint64) (policy []byte, verdict Verdict, err error) {
	if d.Runs < leastRuns {
		return nil, Verdict{}, fmt.Errorf("%w: %d runs in which a seed was judged, at least %d are needed", ErrTooLittle, d.Runs, leastRuns)
	}
	var pairs []pair
	for held := range folds {
		seen, unseen := d.hold(held)
		if len(seen) == 0 || len(unseen) == 0 {
			continue
		}
		fitted, err := fit(ctx, seen, rand.New(rand.NewPCG(seed, uint64(held)+1)))
		if err != nil {
			return nil, Verdict{}, err
		}
		found, err := compare(ctx, fitted, unseen)
		if err != nil {
			return nil, Verdict{}, err
		}
		pairs = append(pairs, found...)
	}
	verdict = judge(pairs, d.Runs)
	if verdict.Choices < leastChoices {
		return nil, verdict, fmt.Errorf("%w: %d choices between seeds, at least %d are needed", ErrTooLittle, verdict.Choices, leastChoices)
	}
	policy, err = fit(ctx, d.all, rand.New(rand.NewPCG(seed, folds+1)))
	return policy, verdict, err
}

// hold holds a fifth of the runs back, those that began after one another. What seeds earned
// in one run is among what is told of blueprints in later ones: nothing is fitted to that was not
// known when those decisions were made by which the fit is judged.
func (d *Data) hold(held int) (seen, unseen []decision) {
	known := make([]int64, len(d.all))
	for i := range d.all {
		known[i] = d.all[i].known
	}
	slices.Sort(known)
	from := known[int(leastSeen*float64(len(known)))]
	isHeld := func(at *decision) bool { return at.run*folds/d.Runs == held }
	if first := slices.IndexFunc(d.all, func(at decision) bool { return isHeld(&at) }); first >= 0 {
		from = max(from, d.all[first].begun)
	}
	for i := range d.all {
		switch at := d.all[i]; {
		case isHeld(&at) && at.begun >= from:
			unseen = append(unseen, at)
		case !isHeld(&at) && at.known < from:
			seen = append(seen, at)
		}
	}
	return seen, unseen
}

// fit fits a network: it adds what a hidden layer makes of the scaled row to the worth that
// the row has by the controller's own formula.
func fit(ctx context.Context, from []decision, rng *rand.Rand) ([]byte, error) {
	if len(from) == 0 {
		return nil, fmt.Errorf("%w: nothing to learn from", ErrTooLittle)
	}
	file, err := untrained(from, rng)
	if err != nil {
		return nil, err
	}
	loaded, err := kernel.Load(file)
	if err != nil {
		return nil, fmt.Errorf("fit a policy: %w", err)
	}
	instance, tape := loaded.Instantiate(), kernel.NewTape()
	var optimizer adam.Optimizer
	size := min(batch, len(from))
	rows, values := kernel.NewTensor(size, network.Features), kernel.NewTensor(size, 1)
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("fit a policy: %w", err)
		}
		for i := range size {
			at := &from[rng.IntN(len(from))]
			copy(rows.Data[i*network.Features:], at.row())
			values.Data[i] = float32(at.value)
		}
		if err := descend(tape, instance, rows, values); err != nil {
			return nil, fmt.Errorf("fit a policy: %w", err)
		}
		now := rate * (1 - float64(step)/steps)
		optimizer.Step(now, instance.Parameters())
		for _, p := range instance.Parameters() {
			for i := range p.Value.Data {
				p.Value.Data[i] *= float32(1 - now*decay)
			}
		}
	}
	return instance.Bytes()
}

// descend finds the gradients of the squared error of what a network foretells.
func descend(tape *kernel.Tape, instance *kernel.Instance, rows, values *kernel.Tensor) error {
	tape.Reset()
	out, err := instance.Forward(tape, tape.Constant(rows))
	if err != nil {
		return err
	}
	foretold, err := tape.Slice(out, 1, 0, 1)
	if err != nil {
		return err
	}
	off, err := tape.Sub(foretold, tape.Constant(values))
	if err != nil {
		return err
	}
	squared, err := tape.Mul(off, off)
	if err != nil {
		return err
	}
	loss, err := tape.ReduceMean(squared, false, 0, 1)
	if err != nil {
		return err
	}
	return tape.Backward(loss)
}

// untrained is a network of the policies' profile whose answer is, before it has learnt, the
// worth in its row.
func untrained(from []decision, rng *rand.Rand) ([]byte, error) {
	const features = network.Features
	mean, scale := kernel.NewTensor(features), kernel.NewTensor(features)
	for column := range features {
		m, s := spread(from, column)
		mean.Data[column], scale.Data[column] = float32(m), float32(s)
	}
	first := kernel.NewTensor(features, hidden)
	for i := range first.Data {
		first.Data[i] = float32(rng.NormFloat64() / math.Sqrt(features))
	}
	own, place := kernel.NewTensor(features, features), kernel.NewTensor(1, features)
	own.Data[tamiyo.FeatureWorth*features], place.Data[0] = 1, 1
	b := kernel.NewBuilder("policy", features)
	b.Frozen("mean", mean)
	b.Frozen("scale", scale)
	b.Frozen("own", own)
	b.Frozen("place", place)
	b.Init("first", first)
	b.Init("first_bias", kernel.NewTensor(hidden))
	b.Init("second", kernel.NewTensor(hidden, 1))
	b.Init("second_bias", kernel.NewTensor(1))
	for _, node := range []struct{ op, a, b, to string }{
		{"Sub", "host", "mean", "centred"}, {"Mul", "centred", "scale", "scaled"},
		{"MatMul", "scaled", "first", "weighed"}, {"Add", "weighed", "first_bias", "biased"}, {"Relu", "biased", "", "hidden"},
		{"MatMul", "hidden", "second", "summed"}, {"Add", "summed", "second_bias", "correction"},
		{"MatMul", "correction", "place", "placed"}, {"MatMul", "host", "own", "worth"}, {"Add", "worth", "placed", "seed"},
	} {
		inputs := []string{node.a}
		if node.b != "" {
			inputs = append(inputs, node.b)
		}
		b.Node(node.op, inputs, node.to)
	}
	return b.Bytes()
}

// spread is the mean of a column over all that stood to choose, and what it is to be
// multiplied by; 0 when it is always the same.
func spread(from []decision, column int) (mean, scale float64) {
	n, sum, squares := 0.0, 0.0, 0.0
	for i := range from {
		for _, row := range from[i].rows {
			n, sum, squares = n+1, sum+float64(row[column]), squares+float64(row[column])*float64(row[column])
		}
	}
	mean = sum / n
	if variance := squares/n - mean*mean; variance > 1e-9 {
		scale = 1 / math.Sqrt(variance)
	}
	return mean, scale
}
