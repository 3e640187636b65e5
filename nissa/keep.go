package nissa

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/ingest"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
	"github.com/esper-lite/weatherlight/supervise"
)

const (
	// watchInterval is how late those that follow see what another service wrote.
	watchInterval = 250 * time.Millisecond
	tidyInterval  = time.Minute
)

// kept is the store of runs, with what writes to it.
type kept struct {
	store   *runstore.Store
	group   *ingest.Group
	members *members
}

// openStore opens the store of runs, if there is to be one.
func (s *Service) openStore(ctx context.Context) error {
	if s.config.Store.URL == "" {
		return nil
	}
	config := s.config.Store.config()
	config.Series, config.SeriesTTL = 2*s.config.Limits.Series, s.config.Limits.SeriesTTL
	config.Now = s.config.Bus.Now
	store, err := runstore.Open(ctx, config)
	if err != nil {
		return err
	}
	joined := &members{
		store: runstore.NewJournal(store), name: s.config.Name, takeOver: s.config.Bus.TakeOver,
		series: s.recorder.series, now: s.config.Bus.Now,
	}
	if err := joined.step(ctx); err != nil { // before it has anything in hand
		return errors.Join(fmt.Errorf("tell the others of the start: %w", err), store.Close())
	}
	s.kept = &kept{store, ingest.New(store), joined}
	if s.desk != nil {
		s.desk.Share(runstore.NewJournal(store))
	}
	return nil
}

func (c Store) config() runstore.Config {
	return runstore.Config{URL: c.URL, Retention: c.Retention, MostBytes: c.MaxBytes}
}

// Import puts the runs of exports into a store, and returns their ids. None of them may be
// there yet, and each must be whole unless parts are asked for.
func Import(ctx context.Context, into Store, from io.Reader, parts bool) (ids []string, err error) {
	store, err := runstore.Open(ctx, into.config())
	if err != nil {
		return nil, fmt.Errorf("import runs: %w", err)
	}
	ids, err = store.Import(ctx, from, parts)
	return ids, errors.Join(err, store.Close())
}

func (s *Service) closeStore() error {
	if s.kept == nil {
		return nil
	}
	return s.kept.store.Close()
}

// keepers are the workers of the store.
func (s *Service) keepers() []supervise.Spec {
	if s.kept == nil {
		return nil
	}
	return []supervise.Spec{
		{Name: "store_watch", Worker: s.each(watchInterval, "look for what other services stored", s.kept.store.Refresh)},
		{Name: "store_tidy", Worker: s.each(tidyInterval, "tidy up the store", s.tidy)},
		{Name: "members", Worker: s.member()},
		{Name: "orders", Worker: s.each(ordersInterval, "keep the orders of runs", s.keepOrders)},
	}
}

// each does a step at once and once an interval. A failure is an outage, of the store or of
// the bus, and no fault of the worker: it is told once, and the step is tried again.
func (s *Service) each(interval time.Duration, what string, step func(context.Context) error) supervise.Worker {
	return supervise.WorkerFunc(func(ctx context.Context) error {
		timer := time.NewTicker(interval)
		defer timer.Stop()
		failing := false
		for {
			err := step(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil && !failing {
				s.config.Logger.Warn("cannot "+what, "error", err)
			}
			failing = err != nil
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
	})
}

// tidy removes what is too old or too much, and shows what is there.
func (s *Service) tidy(ctx context.Context) error {
	return errors.Join(s.kept.store.Tidy(ctx, s.config.Bus.Now()), s.showStore(ctx))
}

func (s *Service) showStore(ctx context.Context) error {
	size, err := s.kept.store.Size(ctx)
	if err == nil {
		s.recorder.store.set(size)
	}
	return err
}
