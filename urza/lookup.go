package urza

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// lookup finds records: in memory while nothing was committed since they were read, in
// the database otherwise.
type lookup struct {
	catalogue *catalogue.Catalogue
	changes   *catalogue.Changes
	cache     *cache
	negative  *negativeCache
	policy    policy
	ttl       time.Duration
	log       *slog.Logger
	reported  sync.Map // blueprint id -> reason, of unreadable rows already logged
	clock     clock
	closed    atomic.Bool
	counts    lookupCounters
}

// lookupCounters are totals; see Metrics.
type lookupCounters struct{ hits, misses, errors, expired, evictions atomic.Int64 }

func newLookup(from *catalogue.Catalogue, cfg Config) *lookup {
	return &lookup{
		catalogue: from, changes: from.Changes(),
		cache: newCache(cfg.CacheSize), negative: newNegativeCache(cfg.CacheSize),
		policy: policy{cfg.RequireApproval, cfg.Permit}, ttl: cfg.CacheTTL, log: cfg.Logger, clock: newClock(),
	}
}

// open is an ErrUnavailable once the library is closed.
func (l *lookup) open() error {
	if l.closed.Load() {
		return fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	return nil
}

// entry finds a record.
func (l *lookup) entry(ctx context.Context, k catalogue.Key) (*entry, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	now := l.clock.now()
	generation, err := l.changes.Current(ctx, now)
	if err != nil {
		l.counts.errors.Add(1)
	}
	cached := l.fresh(k, now)
	if cached != nil && cached.generation.Load() == generation {
		l.counts.hits.Add(1)
		return cached, nil
	}
	if err == nil && l.negative.has(k, generation) {
		l.counts.misses.Add(1)
		return nil, ErrNotFound
	}
	e, err := l.read(ctx, k, generation)
	if _, unreadable := errors.AsType[*RowError](err); errors.Is(err, ErrNotFound) && !unreadable {
		l.negative.add(k, generation)
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
func (l *lookup) fresh(k catalogue.Key, now int64) *entry {
	e := l.cache.get(k)
	if e == nil || !e.expired(now, l.ttl) {
		return e
	}
	l.cache.drop(k)
	l.counts.expired.Add(1)
	l.counts.evictions.Add(1)
	return nil
}

// expire drops all records whose time has passed and says how many.
func (l *lookup) expire() (expired int) {
	if l.ttl > 0 {
		expired = l.cache.expire(l.clock.now(), l.ttl)
		l.counts.expired.Add(int64(expired))
		l.counts.evictions.Add(int64(expired))
	}
	return expired
}

// reload reads a record from the database whatever memory holds.
func (l *lookup) reload(ctx context.Context, k catalogue.Key) (*entry, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	return l.read(ctx, k, l.changes.Known())
}

// read asks the database. A row equal to the remembered one keeps its entry, and
// with it what is known about the file.
func (l *lookup) read(ctx context.Context, k catalogue.Key, generation uint64) (*entry, error) {
	found, err := l.catalogue.Row(ctx, k)
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
func (l *lookup) remember(found catalogue.Row) (*entry, error) {
	l.counts.misses.Add(1)
	record, err := decode(found)
	if err != nil {
		l.cache.drop(found.Key())
		return nil, err
	}
	e := newEntry(found, record)
	e.withheld = l.policy.withheld(record)
	e.loaded.Store(l.clock.now())
	l.counts.evictions.Add(int64(l.cache.put(e)))
	return e, nil
}

// lost counts a look-up that brought nothing and forgets a record that is gone.
func (l *lookup) lost(k catalogue.Key, err error) error {
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
func (l *lookup) forget(k catalogue.Key) {
	l.cache.drop(k)
	l.negative.drop(k)
}

// evicted is the kernel of that checksum that was evicted last. Nothing is remembered of
// what is about to go.
func (l *lookup) evicted(ctx context.Context, sum string) (*entry, error) {
	found, err := l.catalogue.Evicted(ctx, sum)
	if err != nil {
		return nil, err
	}
	record, err := decode(found)
	if err != nil {
		return nil, err
	}
	e := newEntry(found, record)
	e.withheld = l.policy.withheld(record)
	e.touched.Store(max(l.clock.now(), 1)) // it has no place to keep by being used
	return e, nil
}

// noteUse notes that a variant was used, now and then; ErrChanged when it made room for
// another meanwhile. A database that does not answer takes nothing from an answer.
func (l *lookup) noteUse(ctx context.Context, e *entry) error {
	if e.row.Variant == "" {
		return nil
	}
	now, last := l.clock.now(), e.touched.Load()
	if last != 0 && now-last < int64(catalogue.UseInterval) || !e.touched.CompareAndSwap(last, max(now, 1)) {
		return nil
	}
	there, err := l.catalogue.Used(ctx, e.row.Key())
	if err != nil {
		e.touched.Store(last)
		l.log.Debug("use of a variant not noted", "blueprint_id", e.row.ID, "variant", e.row.Variant, "error", err)
		return ctx.Err()
	}
	if !there {
		l.forget(e.row.Key())
		return fault.ErrChanged
	}
	return nil
}

// withheld is why the kernel of an entry is not for use, or nil. A variant is withheld
// with its blueprint.
func (l *lookup) withheld(ctx context.Context, e *entry) error {
	if e.row.Variant == "" {
		return e.withheld
	}
	own, err := l.entry(ctx, catalogue.Key{ID: e.row.ID})
	if errors.Is(err, ErrNotFound) {
		return e.withheld
	}
	if err != nil {
		return err
	}
	return l.policy.withheldVariant(own.record, e.record)
}

// rows reads rows: Each or EachVariant of the catalogue.
type rows func(context.Context, func(catalogue.Row)) error

// scan visits each row that can be read, and returns those that cannot.
func (l *lookup) scan(ctx context.Context, visit func(catalogue.Row, *Record), from ...rows) (bad []RowError, err error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	for _, each := range from {
		err := each(ctx, func(r catalogue.Row) {
			record, err := decode(r)
			if unreadable, is := errors.AsType[*RowError](err); is {
				l.report(unreadable)
				bad = append(bad, *unreadable)
				return
			}
			visit(r, record)
		})
		if err != nil {
			return bad, err
		}
	}
	return bad, nil
}

// report logs an unreadable row, once for each reason.
func (l *lookup) report(bad *RowError) {
	if seen, _ := l.reported.Swap(bad.BlueprintID, bad.Reason); seen != bad.Reason {
		l.log.Warn("catalogue row skipped", "blueprint_id", bad.BlueprintID, "reason", bad.Reason)
	}
}
