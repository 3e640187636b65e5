package tolaria

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"

	"github.com/google/uuid"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// Bus is what the trainer needs of the message bus.
type Bus interface {
	// PublishState sends one epoch's report.
	PublishState(ctx context.Context, packet *leyline.SystemStatePacket) error
}

// Graft is what the trainer needs of the seeds grafted beside its host layer.
// Kasmina's graft satisfies it.
type Graft interface {
	// Seeds lists the attached seeds in the order of their attachment, with
	// their stage and their metric "alpha".
	Seeds() []*leyline.SeedState
	// Parameters lists the trainable weights of one seed.
	Parameters(seedID string) []*kernel.Parameter
	// Isolated is one seed's output on the detached host output.
	Isolated(t *kernel.Tape, seedID string, host kernel.Value) (kernel.Value, error)
	// Output is what the model sees: the host output with every blended seed.
	Output(t *kernel.Tape, host kernel.Value) (kernel.Value, error)
	// AdvanceAlpha moves a blending seed one batch along its ramp.
	AdvanceAlpha(seedID string) float64
	// Observe reports an epoch's evidence about one seed and returns once the
	// manager has decided on it.
	Observe(ctx context.Context, epoch uint32, seedID string, evidence map[string]float32) error
}

// Config sets up a trainer. Only Graft is required.
type Config struct {
	// Graft holds the seeds beside the host's trunk.
	Graft Graft
	// Bus receives a state packet an epoch. Default: none is sent.
	Bus Bus
	// Host sizes the network to train. Its weights follow from Seed.
	Host HostConfig
	// Settle, when set, is called after each epoch's report and may wait until
	// the controller has acted on it. It makes a run repeatable; without it the
	// trainer never waits for anybody.
	Settle func(ctx context.Context, packet *leyline.SystemStatePacket) error
	// OnEpoch, when set, sees every epoch's measurements.
	OnEpoch func(Epoch)
	// Seed makes the run repeatable. Default: 0.
	Seed uint64
	// RunID names the run on the bus. Default: "run-<uuid4>".
	RunID string
	// Experiment names the experiment on the bus. Default: "digits".
	Experiment string
	// MaxEpochs bounds the run. Default: 300.
	MaxEpochs int
	// SettledEpochs is how many epochs the run goes on after a seed has become
	// part of the network. Default: 3.
	SettledEpochs int
	// BatchSize is the number of examples a step. Default: 64.
	BatchSize int
	// HostRate and SeedRate are learning rates. Defaults: 0.005 and 0.003.
	HostRate, SeedRate float64
	// Logger receives warnings. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.RunID == "" {
		c.RunID = "run-" + uuid.NewString()
	}
	if c.Experiment == "" {
		c.Experiment = "digits"
	}
	if c.MaxEpochs <= 0 {
		c.MaxEpochs = 300
	}
	if c.SettledEpochs <= 0 {
		c.SettledEpochs = 3
	}
	if c.BatchSize <= 0 {
		c.BatchSize = 64
	}
	if c.HostRate <= 0 {
		c.HostRate = 0.005
	}
	if c.SeedRate <= 0 {
		c.SeedRate = 0.003
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// ErrNoGraft is returned when a trainer is set up without a graft.
var ErrNoGraft = errors.New("trainer needs a graft")

// Trainer trains one host and the seeds beside it. It belongs to one goroutine.
type Trainer struct {
	config Config
	data   Split
	host   *Host
	rng    *rand.Rand // order of the batches
	noise  *rand.Rand // of kernels that drop features while they train
	tape   *kernel.Tape

	hostOptimizer  *adam
	seedOptimizers map[string]*adam
	latestEvidence map[string]map[string]float32

	// frozenBits are the host's weights when the first seed began to train; the
	// host must keep them bit by bit from then on.
	frozenBits [][]uint32
	globalStep uint64
	result     Result
	settled    int
}

// NewTrainer loads the data and prepares the host. The same seed gives the same
// data split, the same host and the same order of batches.
func NewTrainer(config Config) (*Trainer, error) {
	if config.Graft == nil {
		return nil, ErrNoGraft
	}
	config = config.withDefaults()
	digits, err := Digits()
	if err != nil {
		return nil, err
	}
	// One stream of random numbers a purpose: a longer split must not change
	// the weights.
	split := digits.Split(rand.New(rand.NewPCG(config.Seed, 1)))
	host := NewHost(config.Host, rand.New(rand.NewPCG(config.Seed, 2)))
	return &Trainer{
		config:         config,
		data:           split,
		host:           host,
		rng:            rand.New(rand.NewPCG(config.Seed, 3)),
		noise:          rand.New(rand.NewPCG(config.Seed, 4)),
		tape:           kernel.NewTape(),
		hostOptimizer:  newAdam(host.Parameters(), config.HostRate),
		seedOptimizers: make(map[string]*adam),
		latestEvidence: make(map[string]map[string]float32),
		result:         Result{RunID: config.RunID, HostUnchanged: true},
	}, nil
}

// RunID names the run on the bus.
func (t *Trainer) RunID() string { return t.config.RunID }

// Run trains until a grown network has settled, the epochs are used up or ctx
// is done, and reports what came of it. A refused report on the bus never stops
// the training.
func (t *Trainer) Run(ctx context.Context) (*Result, error) {
	for epoch := 1; epoch <= t.config.MaxEpochs && t.settled < t.config.SettledEpochs; epoch++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		if err := t.epoch(ctx, epoch); err != nil {
			return nil, fmt.Errorf("epoch %d: %w", epoch, err)
		}
	}
	return t.finish()
}

// Result is what a run came to.
type Result struct {
	// RunID names the run on the bus.
	RunID string
	// HostAccuracy and GrownAccuracy are measured on the test set, 0 to 1, by
	// the host alone and by the host with its seeds.
	HostAccuracy, GrownAccuracy float64
	// HostGradientMax is the largest absolute gradient that reached a weight of
	// the host through a seed or a blend.
	HostGradientMax float64
	// HostUnchanged says that the host's weights kept every bit while seeds
	// trained and blended.
	HostUnchanged bool
	// Epochs are the measurements in order.
	Epochs []Epoch
}

func (t *Trainer) finish() (*Result, error) {
	alone, err := t.evaluate(t.data.Test, t.hostOutput)
	if err != nil {
		return nil, fmt.Errorf("measure host: %w", err)
	}
	grown, err := t.evaluate(t.data.Test, t.blendedOutput)
	if err != nil {
		return nil, fmt.Errorf("measure grown network: %w", err)
	}
	t.result.HostAccuracy, t.result.GrownAccuracy = alone.accuracy, grown.accuracy
	result := t.result
	return &result, nil
}
