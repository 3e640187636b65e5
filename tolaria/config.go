package tolaria

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"

	"github.com/google/uuid"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel/adam"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// Config sets up a trainer. The zero values mean the defaults in brackets; a
// trainer without a bus trains alone.
type Config struct {
	// Graft says how the trainer reaches the service: Bus, Keyring and what else it
	// needs of the kernels. Run, Experiment, Host, HostLayers and Accepts are the
	// trainer's own to fill in [no bus].
	Graft graft.Config
	// RunID names the run on the bus [run-<uuid4>].
	RunID string
	// Experiment names the experiment on the bus [digits].
	Experiment string
	// Seed makes the run repeatable: the split of the data, the weights of the
	// host, the order and the variations of the examples follow from it [0].
	Seed uint64
	// Data is what to learn from [MovingDigits].
	Data *Data
	// Model makes the network, with weights that depend on rng alone [one hidden layer with
	// a bend, and a head].
	Model func(rng *mathrand.Rand, size Size) Model
	// Optimizer makes what moves its weights and those of the seeds [Adam].
	Optimizer func() Optimizer
	// Slot is the shape of one example behind the hidden layer, whose width is its
	// size: features; sequence, width; or channels, height, width [16].
	Slot []int
	// Resume is the folder of a checkpoint to go on from [none].
	Resume string

	// TrainBehind lets the head train along while a seed blends. A seed that is
	// dropped then takes with it what the head learnt since, unless the whole host has
	// trained on meanwhile [false].
	TrainBehind bool

	// MaxEpochs bounds the run [300].
	MaxEpochs int
	// Rejections ends the run when so many seeds in a row were not worth keeping;
	// negative: only MaxEpochs does [2].
	Rejections int
	// BatchSize is the number of examples a step [64].
	BatchSize int
	// Passes are over the training data, and make up one epoch, which ends in a
	// report. Examples that are varied each time want more than one [3].
	Passes int

	// HostRate is the learning rate that the host begins with, TuneRate the one
	// with which it trains on when a seed has become part of it. Both are halved,
	// down to RateFloor, when the validation loss has not fallen by 1 % for
	// RatePatience epochs. SeedRate is that of growing seeds [0.005, 0.002, 0.0005,
	// 2 and 0.003].
	HostRate, TuneRate, RateFloor float64
	RatePatience                  int
	SeedRate                      float64

	// Settle, when set, is called after each report with its number, and may wait
	// until the service has answered it (see [graft.Graft.Await]). It makes a run
	// repeatable; without it the trainer never waits for anybody.
	Settle func(ctx context.Context, report uint64, g *graft.Graft) error
	// OnEpoch, when set, sees every epoch's measurements, OnChange what each order
	// changed. Both are called in the training loop.
	OnEpoch  func(Epoch)
	OnChange func(graft.Change)
	// Logger receives warnings [none].
	Logger *slog.Logger
}

// ErrConfig is wrapped by what NewTrainer refuses of a configuration.
var ErrConfig = errors.New("trainer configuration")

// complete fills in the defaults.
func (c *Config) complete() error {
	if c.RunID == "" {
		c.RunID = "run-" + uuid.NewString()
	}
	c.Experiment = cmp.Or(c.Experiment, "digits")
	if c.Model == nil {
		c.Model = newHost
	}
	if c.Optimizer == nil {
		c.Optimizer = func() Optimizer { return new(adam.Optimizer) }
	}
	if len(c.Slot) == 0 {
		c.Slot = []int{16}
	}
	for _, field := range []struct {
		value    *int
		fallback int
	}{{&c.MaxEpochs, 300}, {&c.Rejections, 2}, {&c.BatchSize, 64}, {&c.Passes, 3}, {&c.RatePatience, 2}} {
		if *field.value == 0 {
			*field.value = field.fallback
		}
	}
	for _, field := range []struct {
		value    *float64
		fallback float64
	}{{&c.HostRate, 0.005}, {&c.TuneRate, 0.002}, {&c.RateFloor, 0.0005}, {&c.SeedRate, 0.003}} {
		if *field.value == 0 {
			*field.value = field.fallback
		}
		if !validRate(*field.value) {
			return fmt.Errorf("%w: a learning rate of %v", ErrConfig, *field.value)
		}
	}
	if min(c.MaxEpochs, c.BatchSize, c.Passes, c.RatePatience) < 1 || slices.Min(c.Slot) < 1 {
		return fmt.Errorf("%w: a number below 1", ErrConfig)
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return errors.Join(c.fillData(), c.fillGraft())
}

func (c *Config) fillData() error {
	if c.Data != nil {
		return nil
	}
	data, err := MovingDigits(stream(c.Seed, streamSplit))
	c.Data = data
	return err
}

// fillGraft gives a trainer that trains alone a bus that is silent.
func (c *Config) fillGraft() error {
	if c.Graft.Bus == nil {
		c.Graft.Bus = silence{}
		if c.Graft.Keyring == nil {
			var err error
			if c.Graft.Keyring, err = signing.NewKeyring(rand.Text()); err != nil {
				return err
			}
		}
	}
	if c.Graft.Logger == nil {
		c.Graft.Logger = c.Logger
	}
	return nil
}

// silence is a bus that nobody listens to.
type silence struct{}

func (silence) PublishReport(context.Context, *leyline.SystemStatePacket, map[string]string) error {
	return nil
}

func (silence) FollowOrders(ctx context.Context, _ string, _ func(*leyline.AdaptationCommand)) error {
	<-ctx.Done()
	return nil
}

// Streams of random numbers, one a purpose: a longer split must not change the
// weights.
const (
	streamSplit = iota + 1
	streamWeights
	streamOrder // and variations of the examples
	streamNoise // of kernels that drop features while they train
)

func stream(seed, purpose uint64) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(seed, purpose))
}
