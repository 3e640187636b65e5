package nissa

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
	"github.com/esper-lite/weatherlight/supervise"
)

const (
	beatPause = time.Second
	// silentAfter is how long one that shares the store gives no sign of life until it is taken for dead.
	silentAfter = 3 * time.Second
	// untouched is for how long nobody has touched what is taken over of one: it may have read something
	// behind its last sign of life.
	untouched = silentAfter / 2
	// leaveTimeout bounds the last word to the others.
	leaveTimeout = time.Second
)

// members are those that share a store, as one of them sees them.
type members struct {
	store    *runstore.Journal
	name     string
	takeOver func(name string, idle time.Duration)
	series   *seriesTable
	now      func() time.Time // by the clock of all
	seen     map[string]runstore.Sighting[int64]
}

// step gives a sign of life, has all show the same series, and takes over what those had in hand that give no sign
// any more: the bus itself would wait a minute for each.
func (m *members) step(ctx context.Context) error {
	ahead := time.Until(m.now())
	exchange := m.series.exchange(len(m.seen) == 0, ahead)
	all, err := m.store.Beat(ctx, m.name, exchange)
	if err != nil {
		m.seen = nil // an outage is no silence of the others, and nobody knows what was told
		return err
	}
	m.series.take(exchange, -ahead)
	now, seen := time.Now(), map[string]runstore.Sighting[int64]{}
	var failed error
	for _, other := range all {
		if other.Name == m.name {
			continue
		}
		known := m.seen[other.Name].Next(other.Beat, now)
		if now.Sub(known.Since) < silentAfter {
			seen[other.Name] = known
			continue
		}
		failed = errors.Join(failed, m.store.Forget(ctx, other))
	}
	for name := range m.seen {
		if _, still := seen[name]; !still {
			m.takeOver(name, untouched) // it is silent or left, or another of us took it for dead
		}
	}
	m.seen = seen
	return failed
}

// leave has the others not wait for one that ends.
func (m *members) leave(ctx context.Context) error {
	// ctx has ended, which is why it leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	return m.store.Forget(ctx, runstore.Member{Name: m.name, Beat: math.MaxInt64})
}

// member is the worker that gives signs of life.
func (s *Service) member() supervise.Worker {
	beating := s.each(beatPause, "give a sign of life and share series", s.kept.members.step)
	return supervise.WorkerFunc(func(ctx context.Context) error {
		err := beating.Run(ctx)
		if left := s.kept.members.leave(ctx); left != nil {
			s.config.Logger.Warn("the others are not told of the stop: they find out", "error", left)
		}
		return err
	})
}
