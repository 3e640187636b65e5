package tolaria

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/kernel/adam"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// slot is what the training loop needs of a *graft.Slot.
type slot interface {
	Output(t *kernel.Tape, host kernel.Value) (kernel.Value, error)
	Isolated(t *kernel.Tape, seedID string, host kernel.Value) (kernel.Value, error)
	With(t *kernel.Tape, seedID string, host kernel.Value) (kernel.Value, error)
	Without(t *kernel.Tape, seedID string, host kernel.Value) (kernel.Value, error)
	Kept(t *kernel.Tape, host kernel.Value) (kernel.Value, error)
	Cosine(t *kernel.Tape, seedID string, host *kernel.Tensor, loss func(*kernel.Tape, kernel.Value) (kernel.Value, error)) (float64, error)
	Parameters(seedID string) []*kernel.Parameter
	Seeds() []graft.Seed
}

// ErrHalted is returned by Run when an emergency order told it to stop.
var ErrHalted = errors.New("training was halted by an emergency order")

// Trainer trains one host and the seeds behind its hidden layer. It belongs to
// one goroutine.
type Trainer struct {
	config    Config
	network   Model
	graft     *graft.Graft
	slot      slot
	optimizer Optimizer
	rate      annealer
	tape      *kernel.Tape

	order, noise *rand.PCG  // the states of streamOrder and streamNoise
	rng          *rand.Rand // on order
	dropping     *rand.Rand // on noise

	epochs     int
	trained    int           // epochs in which something trained
	waited     int           // epochs in a row in which the host rested, no seed's ramp rose and no order came
	pace       time.Duration // of the last epoch that trained
	hostSteps  int
	reports    uint64                         // of this process
	members    map[string][]*kernel.Parameter // of the grafted seeds
	waiting    map[string][]*adam.Moments     // of seeds in a checkpoint whose parameters are not known yet
	rejected   int                            // seeds in a row that were dropped
	over       bool                           // by Rejections
	germinated bool

	// resting are the weights of the hidden layer as they were when it came to rest;
	// they must be the same until it trains again.
	resting graft.Weights
	result  Result
}

// NewTrainer prepares the data, the host and the graft, or takes them up from a
// checkpoint. The same seed gives the same data split, the same host and the
// same order of batches.
func NewTrainer(config Config) (*Trainer, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	size, err := config.hostConfig()
	if err != nil {
		return nil, err
	}
	t := &Trainer{
		config:    config,
		network:   config.Model(stream(config.Seed, streamWeights), size),
		optimizer: config.Optimizer(),
		rate:      annealer{Rate: config.HostRate, floor: config.RateFloor, patience: config.RatePatience},
		order:     rand.NewPCG(config.Seed, streamOrder),
		noise:     rand.NewPCG(config.Seed, streamNoise),
		tape:      kernel.NewTape(),
		members:   make(map[string][]*kernel.Parameter),
		waiting:   make(map[string][]*adam.Moments),
		result:    Result{RunID: config.RunID, HostUnchanged: true},
	}
	t.rng, t.dropping = rand.New(t.order), rand.New(t.noise)
	t.result.HostParameters = countParameters(parametersOf(t.network))
	if err := t.openGraft(); err != nil {
		return nil, err
	}
	if config.Resume != "" {
		if err := t.load(config.Resume); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (c *Config) hostConfig() (Size, error) {
	inputs, classes, err := c.Data.check()
	if err != nil {
		return Size{}, err
	}
	features := 1
	for _, size := range c.Slot {
		features *= size
	}
	size := Size{Inputs: inputs, Features: features, Classes: classes}
	return size, size.check()
}

func (t *Trainer) openGraft() error {
	config := t.config.Graft
	config.Run, config.Experiment = t.config.RunID, t.config.Experiment
	config.Host, config.HostLayers = (*seedHost)(t), layerNames()
	config.Accepts = []string{string(trainer.Optimizer)}
	var err error
	if t.graft, err = graft.New(config); err != nil {
		return fmt.Errorf("set up the graft: %w", err)
	}
	slot, err := t.graft.Slot(layerHidden, t.config.Slot...)
	if err != nil {
		return fmt.Errorf("set up the graft: %w", err)
	}
	slot.Watch(t.network.Front()...)
	t.slot = slot
	return nil
}

// lastReport bounds how long the end of a run waits for its last report to leave.
const lastReport = 2 * time.Second

// Run trains until growing no longer pays, the epochs are used up or ctx is
// done, and reports what came of it. It is called once. Nothing that the bus
// does or does not stops the training, but an emergency order that halts it:
// ErrHalted.
func (t *Trainer) Run(ctx context.Context) (*Result, error) {
	background, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() {
		if err := t.graft.Run(background); err != nil {
			t.config.Logger.Error("graft ended", "error", err)
		}
	})
	defer working.Wait()
	defer stop()
	for t.trained < t.config.MaxEpochs {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		if err := t.obey(); err != nil {
			return nil, err
		}
		if t.over {
			break
		}
		if t.graft.Halted() {
			t.farewell(ctx)
			return nil, ErrHalted
		}
		if err := t.epoch(ctx); err != nil {
			return nil, fmt.Errorf("epoch %d: %w", t.epochs, err)
		}
	}
	t.farewell(ctx)
	return t.finish()
}

// farewell lets the last report leave, if the bus can be reached, and one more
// that tells what the last orders did.
func (t *Trainer) farewell(ctx context.Context) {
	if last := len(t.result.Epochs) - 1; last >= 0 && (t.over || t.graft.Halted()) {
		t.report(t.packet(t.result.Epochs[last]), nil)
	}
	ctx, cancel := context.WithTimeout(ctx, lastReport)
	defer cancel()
	if err := t.graft.Flush(ctx); err != nil {
		t.config.Logger.Warn("the last report did not leave", "error", err)
	}
}

// obey lets the orders that have arrived take effect.
func (t *Trainer) obey() error {
	for _, change := range t.graft.Apply() {
		t.waited = 0
		if err := t.follow(change); err != nil {
			return err
		}
		if t.config.OnChange != nil {
			t.config.OnChange(change)
		}
	}
	return nil
}

// follow does what a change means for the host and for the run.
func (t *Trainer) follow(change graft.Change) error {
	const absent = leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	if change.To != absent {
		t.join(change.Seed, change.Parameters)
	}
	switch change.Kind {
	case trainer.Attach:
		if change.Err == nil && change.From == absent && !t.germinated {
			return t.firstSeed()
		}
	case trainer.Tune:
		t.rate.restart(t.config.TuneRate)
	case trainer.Keep:
		t.rejected = 0
		t.result.Kept++
	}
	if change.From != absent && change.To == absent {
		t.optimizer.Forget(change.Parameters)
		delete(t.members, change.Seed)
		delete(t.waiting, change.Seed)
		t.resting = nil // a rollback changes the host on purpose
		t.rejected++
		t.result.Dropped++
		t.over = t.config.Rejections > 0 && t.rejected >= t.config.Rejections
	}
	return nil
}

// join takes up the parameters of a seed, with the optimizer's state that a
// checkpoint had of them. One that does not fit begins anew.
func (t *Trainer) join(seedID string, parameters []*kernel.Parameter) {
	t.members[seedID] = parameters
	moments, ok := t.waiting[seedID]
	if !ok {
		return
	}
	delete(t.waiting, seedID)
	if err := t.optimizer.Put(parameters, moments); err != nil {
		t.config.Logger.Warn("the optimizer's state of a seed is lost", "seed", seedID, "error", err)
	}
}

// firstSeed measures what the host can do by itself.
func (t *Trainer) firstSeed() error {
	alone, err := t.answer(t.config.Data.Test, func(_ *kernel.Tape, hidden kernel.Value) (kernel.Value, error) {
		return hidden, nil
	})
	if err != nil {
		return fmt.Errorf("measure the host: %w", err)
	}
	t.germinated = true
	t.result.HostAccuracy = mean(alone.right)
	return nil
}

// trials are the seeds whose place is not decided yet.
func (t *Trainer) trials() []graft.Seed {
	return slices.DeleteFunc(t.slot.Seeds(), func(s graft.Seed) bool { return s.Stage == stageFossilized })
}

// isolated says whether a seed learns beside the host, which then keeps its rate: what
// it learns on should change no faster.
func (t *Trainer) isolated() bool {
	return slices.ContainsFunc(t.trials(), func(s graft.Seed) bool { return s.Stage == stageTraining && !s.Paused })
}

// blending says whether a seed on trial is, or is on its way to be, in the output. One
// that is paused holds nobody up.
func (t *Trainer) blending() bool {
	return slices.ContainsFunc(t.trials(), func(s graft.Seed) bool { return s.Stage > stageTraining && !s.Paused })
}

const (
	stageTraining   = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	stageBlending   = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	stageFossilized = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
)
