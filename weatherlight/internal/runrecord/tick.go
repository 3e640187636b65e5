package runrecord

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/oona"
)

const (
	// tickBatch bounds the runs that one look at the index takes up.
	tickBatch = 64
	// tickHold is how long a run that was taken up is nobody else's: when its
	// instance dies, the next looks at it then.
	tickHold = 10 * time.Second
	// unstorablePause is when a run is looked at again whose decision was too large to
	// store: what comes meanwhile may have made room.
	unstorablePause = time.Hour
	// damagedPause is when a run is looked at again that cannot be decided on: a person may
	// have mended it.
	damagedPause = time.Minute
)

// ErrIndex is wrapped when the index of due times cannot be read.
var ErrIndex = errors.New("the index of due runs cannot be read")

// Tick has a decision made on every run whose time has come, and returns how many
// there were. A run whose record is gone leaves the index.
func (k *Keeper[R]) Tick(ctx context.Context, now time.Time, decide Decide[R]) (int, error) {
	due, err := k.config.Store.Due(ctx, k.config.Part, now, tickBatch, tickHold)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrIndex, k.config.Part, err)
	}
	var failures []error
	for _, run := range due {
		var next time.Time
		_, err := k.step(ctx, run.Run, func(record *R) (Outcome[R], error) {
			next = time.Time{}
			if record == nil {
				return Outcome[R]{}, nil
			}
			outcome, err := decide(record)
			next = outcome.Due
			return outcome, err
		}, true)
		switch { // others are not to wait for what was told of
		case errors.Is(err, oona.ErrTooLarge):
			next, err = now.Add(unstorablePause), nil
		case errors.Is(err, oona.ErrDamaged):
			next, err = now.Add(damagedPause), nil
		}
		if err == nil {
			err = k.config.Store.Reschedule(ctx, k.config.Part, run, next)
		}
		failures = append(failures, err)
	}
	return len(due), errors.Join(failures...)
}
