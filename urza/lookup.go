package urza

import (
	"context"
	"errors"
	"fmt"
)

// entry finds a record: in memory while nothing was committed since it was read,
// in the database otherwise.
func (l *Library) entry(ctx context.Context, id string) (*entry, error) {
	if l.closed.Load() {
		return nil, fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	now := l.clock.now()
	generation, err := l.watch.current(ctx, now)
	if err != nil {
		l.counts.errors.Add(1)
	}
	cached := l.fresh(id, now)
	if cached != nil && cached.generation.Load() == generation {
		l.counts.hits.Add(1)
		return cached, nil
	}
	if err == nil && l.absent.has(id, generation) {
		l.counts.misses.Add(1)
		return nil, ErrNotFound
	}
	e, err := l.read(ctx, id, generation)
	if _, unreadable := errors.AsType[*RowError](err); errors.Is(err, ErrNotFound) && !unreadable {
		l.absent.add(id, generation)
	}
	if errors.Is(err, ErrUnavailable) && cached != nil {
		// The file is still verified before it is announced, so what is remembered
		// cannot become a wrong answer while the database is away.
		l.counts.hits.Add(1)
		return cached, nil
	}
	return e, err
}

// fresh is the record in memory, unless its time has passed.
func (l *Library) fresh(id string, now int64) *entry {
	e := l.cache.get(id)
	if e == nil || !e.expired(now, l.cfg.CacheTTL) {
		return e
	}
	l.cache.drop(id)
	l.counts.expired.Add(1)
	l.counts.evictions.Add(1)
	return nil
}

// reload reads a record from the database whatever memory holds.
func (l *Library) reload(ctx context.Context, id string) (*entry, error) {
	if l.closed.Load() {
		return nil, fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	return l.read(ctx, id, l.watch.generation.Load())
}

// read asks the database. A row equal to the remembered one keeps its entry, and
// with it what is known about the file.
func (l *Library) read(ctx context.Context, id string, generation uint64) (*entry, error) {
	var found row
	err := l.breaker.guard(func() (err error) {
		found, err = l.catalogue.row(ctx, id)
		return err
	})
	if err != nil {
		return nil, l.lost(id, err)
	}
	e := l.cache.get(id)
	if e == nil || e.row != found {
		if e, err = l.remember(found); err != nil {
			return nil, err
		}
	} else {
		l.counts.hits.Add(1)
	}
	e.generation.Store(generation)
	e.loaded.Store(l.clock.now())
	return e, nil
}

// remember decodes a row that is new to memory.
func (l *Library) remember(found row) (*entry, error) {
	l.counts.misses.Add(1)
	record, err := found.decode()
	if err != nil {
		l.cache.drop(found.id)
		return nil, err
	}
	e := newEntry(found, record)
	e.withheld = l.Withheld(record)
	e.loaded.Store(l.clock.now())
	l.counts.evictions.Add(int64(l.cache.put(e)))
	return e, nil
}

// lost counts a look-up that brought nothing and forgets a record that is gone.
func (l *Library) lost(id string, err error) error {
	if errors.Is(err, ErrNotFound) {
		l.cache.drop(id)
		l.counts.misses.Add(1)
		return err
	}
	if !errors.Is(err, context.Canceled) { // the caller gave up; nothing failed
		l.counts.errors.Add(1)
	}
	return err
}

// forget makes the next look at a blueprint ask the database.
func (l *Library) forget(id string) {
	l.cache.drop(id)
	l.absent.drop(id)
}

// Withheld is why a kernel that is there is not for use, an ErrWithheld, or nil.
func (l *Library) Withheld(record *Record) error {
	switch {
	case record.SetAside:
		return fmt.Errorf("%w: set aside by an operator", ErrWithheld)
	case l.cfg.RequireApproval && record.Descriptor.GetApprovalRequired() && !record.Approved:
		return fmt.Errorf("%w: not approved", ErrWithheld)
	case l.cfg.Permit == nil:
		return nil
	}
	if err := l.cfg.Permit(record.Descriptor, record.Approved); err != nil {
		return fmt.Errorf("%w: %w", ErrWithheld, err)
	}
	return nil
}
