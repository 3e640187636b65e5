package nissa

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/ingest"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	// ordersInterval is the pause between two looks at the orders of the runs that report.
	ordersInterval = 2 * time.Second
	// ordersTimeout bounds a look at all of them.
	ordersTimeout = 10 * time.Second
	// watchedFor is how long after its last report a run is looked at, and mostWatched how
	// many are.
	watchedFor  = 2 * time.Minute
	mostWatched = 2000
	longestRun  = 128 // bytes of its id: one that is longer is nobody's who trains with orders
)

// watched are the runs whose orders are looked at.
type watched struct {
	mu   sync.Mutex
	runs map[string]*watchedRun
}

type watchedRun struct {
	heard  time.Time
	orders *oona.Orders
	unkept []oona.Delivery // that were read and are not in the store yet
}

// note remembers that a run reported.
func (w *watched) note(bus *oona.Client, run string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs == nil {
		w.runs = make(map[string]*watchedRun)
	}
	if r := w.runs[run]; r != nil {
		r.heard = now
	} else if len(w.runs) < mostWatched && len(run) <= longestRun {
		w.runs[run] = &watchedRun{heard: now, orders: oona.NewOrders(bus, trainer.Stream(run))}
	}
}

// all are those that report. The others are forgotten.
func (w *watched) all(now time.Time) (all []*watchedRun) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for run, r := range w.runs {
		if now.Sub(r.heard) > watchedFor {
			delete(w.runs, run)
			continue
		}
		all = append(all, r)
	}
	return all
}

// keepOrders keeps what trainers were ordered. The streams of orders have no groups: each
// service reads them, and the store takes each order once.
func (s *Service) keepOrders(ctx context.Context) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, ordersTimeout)
	defer cancel()
	for _, run := range s.watched.all(time.Now()) {
		if ctx.Err() != nil {
			break
		}
		if err := s.takeOrders(ctx, run); err != nil {
			failed = err // and the orders of the others are looked at all the same
		}
	}
	return failed
}

func (s *Service) takeOrders(ctx context.Context, run *watchedRun) error {
	if err := s.keepRead(ctx, run); err != nil {
		return err // no more are read than can be kept
	}
	orders, err := run.orders.Next(ctx)
	if err != nil {
		return err
	}
	run.unkept = orders
	return s.keepRead(ctx, run)
}

// keepRead keeps the orders that were read.
func (s *Service) keepRead(ctx context.Context, run *watchedRun) error {
	for len(run.unkept) > 0 {
		order := run.unkept[0]
		_, err := s.kept.group.Take(ctx, runs.Message{Stream: order.Stream, Entry: order.ID, Payload: order.Payload, At: order.Published})
		if errors.Is(err, ingest.ErrRefused) {
			s.config.Logger.Warn("an order is not kept", "stream", order.Stream, "entry", order.ID, "error", err)
		} else if err != nil {
			return fmt.Errorf("keep orders: %w", err)
		}
		run.unkept = run.unkept[1:]
	}
	return nil
}

// watch notes the run of a report.
func (s *Service) watch(d *oona.Delivery) {
	if state, is := d.Payload.(*leyline.SystemStatePacket); is && s.kept != nil && state.GetTrainingRunId() != "" {
		s.watched.note(s.config.Bus, state.GetTrainingRunId(), time.Now())
	}
}
