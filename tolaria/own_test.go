package tolaria_test

import (
	"errors"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/kernel/adam"
	"github.com/esper-lite/weatherlight/tolaria"
)

// TestR26TrainerOfOnesOwn: the trainer learnt our digits alone, with our network and Adam. What
// it is given goes through a checkpoint bit by bit, the state of the optimizer with it.
func TestR26TrainerOfOnesOwn(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	config := own()
	config.MaxEpochs = 6
	var whole *tolaria.Trainer
	config.OnEpoch = func(e tolaria.Epoch) {
		if e.Number == 3 {
			if err := whole.Save(folder); err != nil {
				t.Error(err)
			}
		}
	}
	var err error
	if whole, err = tolaria.NewTrainer(config); err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	config.OnEpoch, config.Resume = nil, folder
	resumed, err := tolaria.NewTrainer(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resumed.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if resumed.HostState() != whole.HostState() {
		t.Error("what was resumed is not what went through")
	}
	config.Resume = ""
	if _, err := tolaria.TrainPlain(t.Context(), config, []float64{0.1}, 100); !errors.Is(err, tolaria.ErrConfig) {
		t.Errorf("a model of one's own with another number of weights: %v", err)
	}
	if plain, err := tolaria.TrainPlain(t.Context(), config, []float64{0.1, 0.1}, 0); err != nil || plain.Parameters != 42 {
		t.Errorf("without seeds: %+v, %v", plain, err)
	}
}

// TestR26StateThatIsNotOfTheWeightsIsRefused: a checkpoint of another optimizer ends with an error.
func TestR26StateThatIsNotOfTheWeightsIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	config := own()
	trainer, err := tolaria.NewTrainer(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Save(folder); err != nil {
		t.Fatal(err)
	}
	config.Resume = folder
	config.Optimizer = func() tolaria.Optimizer { return &refusing{} }
	if _, err := tolaria.NewTrainer(config); !errors.Is(err, errState) || !errors.Is(err, tolaria.ErrCheckpoint) {
		t.Errorf("resumed with %v", err)
	}
}

type refusing struct{ momentum }

func (*refusing) Put([]*kernel.Parameter, []*adam.Moments) error { return errState }
