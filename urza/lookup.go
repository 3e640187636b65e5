package urza

import (
	"context"
	"errors"
	"fmt"
)

// entry finds a record: in memory while nothing was committed since it was read,
// in the database otherwise.
func (l *Library) entry(ctx context.Context, k key) (*entry, error) {
	if l.closed.Load() {
		return nil, fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	now := l.clock.now()
	generation, err := l.watch.current(ctx, now)
	if err != nil {
		l.counts.errors.Add(1)
	}
	cached := l.fresh(k, now)
	if cached != nil && cached.generation.Load() == generation {
		l.counts.hits.Add(1)
		return cached, nil
	}
	if err == nil && l.absent.has(k, generation) {
		l.counts.misses.Add(1)
		return nil, ErrNotFound
	}
	e, err := l.read(ctx, k, generation)
	if _, unreadable := errors.AsType[*RowError](err); errors.Is(err, ErrNotFound) && !unreadable {
		l.absent.add(k, generation)
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
func (l *Library) fresh(k key, now int64) *entry {
	e := l.cache.get(k)
	if e == nil || !e.expired(now, l.cfg.CacheTTL) {
		return e
	}
	l.cache.drop(k)
	l.counts.expired.Add(1)
	l.counts.evictions.Add(1)
	return nil
}

// reload reads a record from the database whatever memory holds.
func (l *Library) reload(ctx context.Context, k key) (*entry, error) {
	if l.closed.Load() {
		return nil, fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	return l.read(ctx, k, l.watch.generation.Load())
}

// read asks the database. A row equal to the remembered one keeps its entry, and
// with it what is known about the file.
func (l *Library) read(ctx context.Context, k key, generation uint64) (*entry, error) {
	var found row
	err := l.breaker.guard(func() (err error) {
		found, err = l.catalogue.row(ctx, k)
		return err
	})
	if err != nil {
		return nil, l.lost(k, err)
	}
	e := l.cache.get(k)
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
		l.cache.drop(found.key())
		return nil, err
	}
	e := newEntry(found, record)
	e.withheld = l.Withheld(record)
	e.loaded.Store(l.clock.now())
	l.counts.evictions.Add(int64(l.cache.put(e)))
	return e, nil
}

// lost counts a look-up that brought nothing and forgets a record that is gone.
func (l *Library) lost(k key, err error) error {
	if errors.Is(err, ErrNotFound) {
		l.cache.drop(k)
		l.counts.misses.Add(1)
		return err
	}
	if !errors.Is(err, context.Canceled) { // the caller gave up; nothing failed
		l.counts.errors.Add(1)
	}
	return err
}

// forget makes the next look at a kernel ask the database.
func (l *Library) forget(k key) {
	l.cache.drop(k)
	l.absent.drop(k)
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
