package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

const (
	// tickInterval is how often the index of due times is looked at while this
	// instance decides on runs, and restInterval while it does not: then others
	// look, and this one only in case they are gone.
	tickInterval = 250 * time.Millisecond
	restInterval = 2 * time.Second
	// listed is how often a run is looked at that waits for nothing, such as one whose
	// trainer fell silent. So it stays in the index, by which an emergency finds all
	// runs, for as long as its record lives.
	listed = 6 * time.Hour
	// tickAfter is how long an instance counts as deciding on runs.
	tickAfter = 2 * time.Minute
)

// Run looks after what comes due, until ctx is done: kernels that do not come,
// embargoes, orders to repeat, runs that fell silent.
func (r *Room) Run(ctx context.Context) error {
	for {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("due runs: %w", err)
		}
		timer := time.NewTimer(r.config.Rhythm.Until(r.interval()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-r.decided: // the first decision after a rest
			timer.Stop()
		}
	}
}

// look is a Tick that fails with what does not pass by itself. A bus that answers, and
// twice does not say what is due, is not away: nothing would ever come due again.
func (r *Room) look(ctx context.Context) error {
	err := r.Tick(ctx)
	if errors.Is(err, runrecord.ErrIndex) {
		if !r.busAnswers(ctx) {
			return nil
		}
		if err = r.Tick(ctx); errors.Is(err, runrecord.ErrIndex) {
			return err
		}
	}
	if passing(err) {
		return nil
	}
	return err
}

func (r *Room) busAnswers(ctx context.Context) bool {
	_, err := r.demand.anywhere(ctx)
	return err == nil
}

// passing says that an error tells of nothing but a bus that is away, or of a run that
// others decide on at this moment: the next look finds the run still due.
func passing(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(single error) bool { return !passing(single) })
	}
	return errors.Is(err, oona.ErrUnavailable) || errors.Is(err, runrecord.ErrContended)
}

func (r *Room) interval() time.Duration {
	if time.Since(time.UnixMilli(r.active.Load())) < tickAfter {
		return tickInterval
	}
	return restInterval
}

// noteActive ends a rest.
func (r *Room) noteActive() {
	now := time.Now().UnixMilli()
	if before := r.active.Swap(now); time.Duration(now-before)*time.Millisecond < tickAfter {
		return
	}
	select {
	case r.decided <- struct{}{}:
	default:
	}
}

// Tick looks once, until nothing is due any more.
func (r *Room) Tick(ctx context.Context) error {
	for {
		count, err := r.seeds.Tick(ctx, r.config.Now(), r.core(ctx, kasmina.Tick{}, new(kasmina.Decision)))
		if err != nil || count == 0 || ctx.Err() != nil {
			return err
		}
	}
}
