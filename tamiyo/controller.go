package tamiyo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// ErrNoTrainingRun is returned for a state packet that belongs to no training
// run; no retry can change that.
var ErrNoTrainingRun = errors.New("state packet has no training_run_id")

// Decision is the controller's answer to one state packet. Its messages are
// shared with the controller and must not be changed.
type Decision struct {
	Commands []*leyline.AdaptationCommand
	Reports  []*leyline.FieldReport
	Packets  []*leyline.TelemetryPacket
	// Repeated says that the packet had been evaluated before and that this is
	// the same answer again, with the same ids.
	Repeated bool
}

// Controller decides on growth, one training run beside the other. The same
// sequence of state packets leads to the same decisions, ids and times aside.
// It is safe for concurrent use.
type Controller struct {
	config Config

	mu   sync.Mutex
	runs map[string]*run
}

// NewController returns a controller that has seen nothing yet. Without a
// keyring it returns signing.ErrNoSecret: nobody obeys unsigned commands.
func NewController(config Config) (*Controller, error) {
	if config.Keyring == nil {
		return nil, fmt.Errorf("create controller: %w", signing.ErrNoSecret)
	}
	return &Controller{config: config.withDefaults(), runs: map[string]*run{}}, nil
}

// HandleState evaluates one state packet and returns what has to go out for it.
// A packet delivered again gets its first answer again, so that an answer lost
// in a crash is not lost for good; a packet older than the run's latest gets an
// empty one. An error leaves the controller as it was.
func (c *Controller) HandleState(ctx context.Context, state *leyline.SystemStatePacket) (Decision, error) {
	id := state.GetTrainingRunId()
	if strings.TrimSpace(id) == "" {
		return Decision{}, ErrNoTrainingRun
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.expire(now)
	current, former := c.runs[id], (*run)(nil)
	switch current.place(state) {
	case placeRepeated:
		repeated := current.answer
		repeated.Repeated = true
		return repeated, nil
	case placeStale:
		return Decision{Repeated: true}, nil
	case placeRestarted:
		former, current = current, nil
	}
	next := current.next(id, state, now)
	if err := c.evaluate(ctx, next, former, state, now); err != nil {
		return Decision{}, fmt.Errorf("evaluate run %s epoch %d: %w", id, state.GetCurrentEpoch(), err)
	}
	c.keep(next)
	return next.answer, nil
}

// evaluate fills in r's answer to state. Its order is the order of the rules:
// what happened, what is risky, what to do. Former is the run that r replaces
// because it was started over, or nil.
func (c *Controller) evaluate(
	ctx context.Context, r, former *run, state *leyline.SystemStatePacket, now time.Time,
) error {
	e := &evaluation{config: c.config, run: r, state: state, now: now}
	e.closeFormer(former)
	e.readLoss()
	e.observeSeeds()
	e.assessRisk()
	e.steerSeeds()
	e.considerGermination(ctx)
	for _, command := range e.commands {
		if err := c.config.Keyring.SignCommand(command); err != nil {
			return fmt.Errorf("sign command for seed %s: %w", command.GetTargetSeedId(), err)
		}
	}
	r.answer = Decision{
		Commands: e.commands,
		Reports:  e.reports,
		Packets:  []*leyline.TelemetryPacket{e.packet(time.Since(now))},
	}
	return nil
}

// Runs returns the number of training runs being watched.
func (c *Controller) Runs() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.runs)
}

func (c *Controller) expire(now time.Time) {
	for id, r := range c.runs {
		if now.Sub(r.seenAt) > c.config.RunExpiry {
			delete(c.runs, id)
		}
	}
}

// keep makes room for r by forgetting the run that has been silent longest.
func (c *Controller) keep(r *run) {
	c.runs[r.id] = r
	if len(c.runs) <= c.config.MaxRuns {
		return
	}
	oldest := r
	for _, other := range c.runs {
		if olderThan(other, oldest) {
			oldest = other
		}
	}
	delete(c.runs, oldest.id)
	c.config.Logger.Warn("too many training runs, forgot the one silent longest", "training_run_id", oldest.id)
}

func olderThan(a, b *run) bool {
	if a.seenAt.Equal(b.seenAt) {
		return a.id < b.id
	}
	return a.seenAt.Before(b.seenAt)
}
