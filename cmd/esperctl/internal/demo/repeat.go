package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/tolaria"
)

// outcome is one network that grew, and what it is compared with.
type outcome struct {
	result         *tolaria.Result
	longer, larger tolaria.Plain
	seeds          []*life
}

// seedStride keeps the seeds of the repeats of one --seed from those of another.
const seedStride = 1000

// repeat grows one network over the bus, then trains its two rivals.
func (d *demo) repeat(ctx context.Context, number int) (*outcome, error) {
	run := fmt.Sprintf("%s-%d-%d", d.name, d.options.seed, number+1)
	d.screen.repeat(number+1, d.options.repeats, run)
	lives := newLives(d.screen.stage)
	watch := newWatch(d.service.HTTPAddr(), run)
	defer watch.close()
	config := tolaria.Config{
		Graft:    graft.Config{Bus: d.client.bus, Keyring: d.keyring, KernelAccess: []string{"path"}},
		RunID:    run,
		Seed:     d.options.seed*seedStride + uint64(number),
		Slot:     d.slot,
		OnEpoch:  d.screen.epoch,
		OnChange: lives.change,
		Settle: func(ctx context.Context, report uint64, g *graft.Graft) error {
			view, err := watch.settle(ctx, report, g)
			lives.look(view)
			return errors.Join(err, d.rest(ctx))
		},
	}
	trainer, err := tolaria.NewTrainer(config)
	if err != nil {
		return nil, fmt.Errorf("set up trainer: %w", err)
	}
	result, err := trainer.Run(ctx)
	if err != nil {
		return nil, err
	}
	o := &outcome{result: result, seeds: lives.list}
	return o, o.compare(ctx, config)
}

// rest is the pause after an epoch, so that the next is seen as one.
func (d *demo) rest(ctx context.Context) error {
	if d.options.pace <= 0 {
		return nil
	}
	timer := time.NewTimer(d.options.pace)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compare trains the same host for as many steps, and one of the grown size from
// the start. Both get the learning rates of the grown network, step by step.
func (o *outcome) compare(ctx context.Context, config tolaria.Config) error {
	var working sync.WaitGroup
	var longer, larger error
	working.Go(func() { o.longer, longer = tolaria.TrainPlain(ctx, config, o.result.Rates, 0) })
	working.Go(func() { o.larger, larger = tolaria.TrainPlain(ctx, config, o.result.Rates, o.result.GrownParameters) })
	working.Wait()
	return errors.Join(longer, larger)
}
