package tolaria

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
)

func TestDigitsAreComplete(t *testing.T) {
	t.Parallel()
	digits, err := Digits()
	if err != nil {
		t.Fatalf("Digits: %v", err)
	}
	if digits.Len() != 1797 || digits.Inputs.Rows() != 1797 || digits.Features() != 64 {
		t.Fatalf("%d digits, shape %v", digits.Len(), digits.Inputs.Shape)
	}
	counts := make([]int, 10)
	for _, label := range digits.Labels {
		counts[label]++
	}
	if slices.Min(counts) < 170 {
		t.Errorf("classes: %v", counts)
	}
	if slices.Min(digits.Inputs.Data) != -1 || slices.Max(digits.Inputs.Data) != 1 {
		t.Errorf("pixels reach from %v to %v", slices.Min(digits.Inputs.Data), slices.Max(digits.Inputs.Data))
	}
	split := digits.Split(rand.New(rand.NewPCG(1, 1)))
	if sum := split.Train.Len() + split.Validation.Len() + split.Test.Len(); sum != 1797 {
		t.Errorf("the split holds %d digits", sum)
	}
}

func TestDigitsMoveByAtMostOnePixel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := make([]float32, digitPixels)
		for i := range from {
			from[i] = float32(i + 1)
		}
		to := make([]float32, digitPixels)
		moveDigit(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), to, from)
		found := false
		for down := -1; down <= 1; down++ {
			for across := -1; across <= 1; across++ {
				found = found || slices.Equal(to, shifted(from, across, down))
			}
		}
		if !found {
			t.Errorf("moved to %v", to)
		}
	})
}

func shifted(from []float32, across, down int) []float32 {
	to := slices.Repeat([]float32{blank}, digitPixels)
	for i, value := range from {
		if x, y := i%digitSide+across, i/digitSide+down; x >= 0 && x < digitSide && y >= 0 && y < digitSide {
			to[y*digitSide+x] = value
		}
	}
	return to
}

// parameters is how many weights a host of a size has.
func parameters(s Size) int { return (s.Inputs+1)*s.Features + (s.Features+1)*s.Classes }

func TestHostOfASizeComesClosestToIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := Size{
			Inputs:  rapid.IntRange(1, 200).Draw(t, "inputs"),
			Classes: rapid.IntRange(2, 50).Draw(t, "classes"),
		}
		wanted := rapid.IntRange(1, 100_000).Draw(t, "wanted")
		got := size.ofSize(wanted)
		off := func(features int) int {
			other := got
			other.Features = features
			return max(wanted-parameters(other), parameters(other)-wanted)
		}
		if off(got.Features) > off(got.Features+1) || got.Features > 1 && off(got.Features) > off(got.Features-1) {
			t.Errorf("%d parameters for %d wanted", parameters(got), wanted)
		}
		if counted := countParameters(parametersOf(newHost(stream(1, 1), got))); counted != parameters(got) {
			t.Errorf("a host of %d parameters has %d", parameters(got), counted)
		}
	})
}

// aTrainer is one that has trained a little.
func aTrainer(t *testing.T, config Config) *Trainer {
	t.Helper()
	made, err := NewTrainer(config)
	if err != nil {
		t.Fatalf("NewTrainer: %v", err)
	}
	trainOn(t, made)
	return made
}

func trainOn(t *testing.T, made *Trainer) {
	t.Helper()
	if _, err := made.train(); err != nil {
		t.Fatalf("train: %v", err)
	}
}

// trainHead trains the head as a blend does when it trains along.
func trainHead(t *testing.T, made *Trainer) {
	t.Helper()
	before := graft.CopyWeights(made.network.Behind())
	err := made.stepSeeds(made.config.Data.Train.span(0, 64), []pupil{{through: made.slot.Output}}, make([]float64, 1))
	if err != nil || before.Same(made.network.Behind()) {
		t.Fatalf("the head does not train: %v", err)
	}
}

func TestRestoredHostIsTheOneOfTheSnapshotBitByBit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		scope       graft.Scope
		behind      bool
		train       func(*testing.T, *Trainer)
		front, back bool // are as they were
	}{
		"what a resting head has touched": {graft.Touched, false, trainOn, false, false},
		"what a training head has":        {graft.Touched, true, trainHead, true, true},
		"a head that trained on since":    {graft.Touched, true, trainOn, false, false},
		"everything":                      {graft.Whole, false, trainOn, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := aTrainer(t, Config{TrainBehind: test.behind, Passes: 1})
			host := (*seedHost)(made)
			front, head := made.network.Front(), made.network.Behind()
			frontWas, headWas, moments := graft.CopyWeights(front), graft.CopyWeights(head), made.optimizer.Get(head)
			snapshot := host.Snapshot("seed")
			for range 2 { // a snapshot can be restored more than once
				test.train(t, made)
				if err := host.Restore(snapshot, test.scope); err != nil {
					t.Fatalf("Restore: %v", err)
				}
				if frontWas.Same(front) != test.front || headWas.Same(head) != test.back {
					t.Errorf("in front as it was: %v, behind: %v", frontWas.Same(front), headWas.Same(head))
				}
				if same := slices.Equal(made.optimizer.Get(head)[0].First, moments[0].First); same != test.back {
					t.Errorf("the optimizer of the head is as it was: %v", same)
				}
			}
		})
	}
	if err := (*seedHost)(aTrainer(t, Config{Passes: 1})).Restore("a text", graft.Whole); err == nil {
		t.Error("a snapshot of somebody else was restored")
	}
}

func TestOptimizerOrderSetsALearningRate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		id          string
		parameters  map[string]float32
		host, seeds float64
		refused     bool
	}{
		"the host's":     {"host", map[string]float32{"learning_rate": 0.25}, 0.25, 0.003, false},
		"without a name": {"", map[string]float32{"learning_rate": 0.25}, 0.25, 0.003, false},
		"the seeds'":     {"seeds", map[string]float32{"learning_rate": 0.25}, 0.005, 0.25, false},
		"another":        {"judge", map[string]float32{"learning_rate": 0.25}, 0.005, 0.003, true},
		"another figure": {"host", map[string]float32{"momentum": 0.25}, 0.005, 0.003, true},
		"two figures":    {"host", map[string]float32{"learning_rate": 0.25, "momentum": 1}, 0.005, 0.003, true},
		"none":           {"host", nil, 0.005, 0.003, true},
		"zero":           {"host", map[string]float32{"learning_rate": 0}, 0.005, 0.003, true},
		"not a number":   {"host", map[string]float32{"learning_rate": float32(math.NaN())}, 0.005, 0.003, true},
		"infinite":       {"host", map[string]float32{"learning_rate": float32(math.Inf(1))}, 0.005, 0.003, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made, err := NewTrainer(Config{})
			if err != nil {
				t.Fatalf("NewTrainer: %v", err)
			}
			err = (*seedHost)(made).Optimizer(test.id, test.parameters)
			if (err != nil) != test.refused || made.rate.Rate != test.host || made.config.SeedRate != test.seeds {
				t.Errorf("%v; rates %v and %v", err, made.rate.Rate, made.config.SeedRate)
			}
		})
	}
}

func TestRateIsHalvedAtRestDownToItsFloor(t *testing.T) {
	t.Parallel()
	rate := annealer{Rate: 0.004, floor: 0.0015, patience: 2}
	for i, step := range []struct{ loss, want float64 }{
		{1, 0.004}, {0.9, 0.004}, {0.899, 0.004}, {0.95, 0.002}, {0.8, 0.002}, {0.8, 0.002}, {0.8, 0.0015}, {math.NaN(), 0.0015}, {0.8, 0.0015},
	} {
		if rate.see(step.loss); rate.Rate != step.want {
			t.Errorf("look %d: the rate is %v, want %v", i+1, rate.Rate, step.want)
		}
	}
}

func TestEpochWithoutTrainingTakesAsLongAsOneWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made, started := &Trainer{pace: 3 * time.Second}, time.Now()
		if made.keepPace(t.Context(), time.Second); time.Since(started) != 2*time.Second {
			t.Errorf("waited %v more", time.Since(started))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		made.keepPace(ctx, 0)
		if made.keepPace(t.Context(), time.Minute); time.Since(started) != 2*time.Second {
			t.Errorf("waited %v in all", time.Since(started))
		}
	})
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	set := func(labels ...int) *Dataset {
		return &Dataset{Inputs: kernel.NewTensor(len(labels), 3), Labels: labels}
	}
	narrow := &Dataset{Inputs: kernel.NewTensor(1, 2), Labels: []int{0}}
	data := func(train, validation, test *Dataset) *Data {
		return &Data{Split: Split{Train: train, Validation: validation, Test: test}}
	}
	for name, test := range map[string]struct {
		config Config
		want   error
	}{
		"a negative rate":     {Config{HostRate: -1}, ErrConfig},
		"an infinite rate":    {Config{SeedRate: math.Inf(1)}, ErrConfig},
		"no epochs":           {Config{MaxEpochs: -1}, ErrConfig},
		"an empty slot":       {Config{Slot: []int{4, 0}}, ErrConfig},
		"a bus alone":         {Config{Graft: graft.Config{Bus: silence{}}}, graft.ErrConfig},
		"no validation set":   {Config{Data: data(set(0), nil, set(0))}, ErrData},
		"an empty set":        {Config{Data: data(set(0), set(), set(0))}, ErrData},
		"a label below 0":     {Config{Data: data(set(0), set(-1), set(0))}, ErrData},
		"examples that vary":  {Config{Data: data(set(0), narrow, set(0))}, ErrData},
		"more labels than it": {Config{Data: data(set(0), &Dataset{Inputs: kernel.NewTensor(1, 3), Labels: []int{0, 1}}, set(0))}, ErrData},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewTrainer(test.config); !errors.Is(err, test.want) {
				t.Errorf("NewTrainer = %v, want %v", err, test.want)
			}
		})
	}
}

func TestOwnDataIsTrainedOn(t *testing.T) {
	t.Parallel()
	// Which of three features is the largest, told apart by a line each.
	make3 := func(seed uint64, n int) *Dataset {
		rng := stream(seed, 9)
		set := &Dataset{Inputs: kernel.NewTensor(n, 3), Labels: make([]int, n)}
		for i := range n {
			row := set.example(i)
			for j := range row {
				row[j] = float32(rng.NormFloat64())
			}
			set.Labels[i] = slices.Index(row, slices.Max(row))
		}
		return set
	}
	made, err := NewTrainer(Config{
		Data: &Data{Split: Split{Train: make3(1, 600), Validation: make3(2, 100), Test: make3(3, 100)}}, Slot: []int{8}, MaxEpochs: 15,
	})
	if err != nil {
		t.Fatalf("NewTrainer: %v", err)
	}
	result, err := made.Run(t.Context())
	if err != nil || result.GrownAccuracy < 0.9 {
		t.Errorf("came to %+v, %v", result, err)
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	tiny := &Dataset{Inputs: kernel.NewTensor(2, 2), Labels: []int{0, 1}}
	made, err := NewTrainer(Config{
		RunID: "fuzz", Data: &Data{Split: Split{Train: tiny, Validation: tiny, Test: tiny}}, Slot: []int{1},
	})
	if err != nil {
		f.Fatal(err)
	}
	folder := f.TempDir()
	if err := made.Save(folder); err != nil {
		f.Fatal(err)
	}
	content, err := regularfile.Read(folder+"/"+checkpointName, maxCheckpoint)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte(`{"version":1,"seeds":"seeds-1"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := decodeCheckpoint(content)
		if err != nil {
			if !errors.Is(err, ErrCheckpoint) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if err := made.take(s); err == nil && !slices.Equal(parametersOf(made.network)[0].Value.Shape, []int{2, 1}) {
			t.Error("the host has another shape")
		}
	})
}
