package runrecord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// Store keeps records; *oona.Records is one.
type Store interface {
	Load(ctx context.Context, key oona.RecordKey) (oona.Record, error)
	Save(ctx context.Context, write oona.RecordWrite) (int64, error)
	Settle(ctx context.Context, key oona.RecordKey, version int64) error
	Due(ctx context.Context, part string, now time.Time, limit int, hold time.Duration) ([]oona.DueRun, error)
	Reschedule(ctx context.Context, part string, claimed oona.DueRun, at time.Time) error
	Runs(ctx context.Context, part, after string, limit int) ([]string, error)
}

// Config configures a Keeper of records of type R. Part, Store, Decode, Encode and
// Publish are required.
type Config[R any] struct {
	Part   string // of the system, in the records' keys
	Store  Store
	Decode func(value []byte) (*R, error)
	Encode func(record *R) ([]byte, error)
	// Publish sends outputs that were stored. It may be given one again.
	Publish func(ctx context.Context, outputs []Output) error

	// Lost hears of what is stored of a run and cannot be read. It counts as lost.
	Lost func(run string, err error)
	// Unstorable hears of a decision that is too large for its record. The run stays
	// as it was.
	Unstorable func(run string, err error)
	// Damaged hears of a run that cannot be decided on: see oona.ErrDamaged.
	Damaged func(run string, err error)

	TTL    time.Duration // of a record that nobody changes; 0: the store's
	Grace  time.Duration // that the writer of a record has to publish its outputs, before who finds them does
	Cached int           // records kept decoded, of about 8 MiB as they are stored [4096]
}

// Outcome is what was decided on a record.
type Outcome[R any] struct {
	Record  *R // nil: the record stays as it is
	Outputs []Output
	Orders  []*leyline.AdaptationCommand // signed
	Due     time.Time                    // when the record wants to be looked at; zero: not before its next message

	// Stands is called once the outcome is what holds: it is stored, or there was
	// nothing to store. A decision that a conflict made void never stands. nil: no
	// call.
	Stands func()
}

func (o Outcome[R]) stands() {
	if o.Stands != nil {
		o.Stands()
	}
}

// empty says that there is nothing to write.
func (o Outcome[R]) empty() bool {
	return o.Record == nil && len(o.Outputs) == 0 && len(o.Orders) == 0
}

// Decide decides on a record, nil when the run has none. It must not change the
// record, and may be called again for the same message.
type Decide[R any] func(record *R) (Outcome[R], error)

// ErrContended: the record was changed by others each time it was decided on.
var ErrContended = errors.New("run record is changed by others all the time")

// attempts bounds how often one message decides on a record that others change.
const attempts = 16

// Keeper changes the records of one part. It is safe for concurrent use.
type Keeper[R any] struct {
	config Config[R]
	cache  *cache[R]

	conflicts, recovered atomic.Int64
}

// New returns a keeper that has seen no record yet.
func New[R any](config Config[R]) *Keeper[R] {
	config.Cached = cmp.Or(max(config.Cached, 0), 4096)
	if config.Lost == nil {
		config.Lost = func(string, error) {}
	}
	if config.Unstorable == nil {
		config.Unstorable = func(string, error) {}
	}
	if config.Damaged == nil {
		config.Damaged = func(string, error) {}
	}
	return &Keeper[R]{config: config, cache: newCache[R](config.Cached)}
}

// Step has a decision made on a run's record and carries it out. When it returns
// nil the record is written and its outputs are published; after an error the
// message is to be handled again, and what was written then is published first.
func (k *Keeper[R]) Step(ctx context.Context, run string, decide Decide[R]) (Outcome[R], error) {
	return k.step(ctx, run, decide, false)
}

// step is Step; claimed says that the run was taken out of the index, and goes back
// into it when the step is done.
func (k *Keeper[R]) step(ctx context.Context, run string, decide Decide[R], claimed bool) (Outcome[R], error) {
	held := k.cache.take(run)
	defer k.cache.release(run, held)
	for range attempts {
		outcome, err := k.attempt(ctx, run, held, decide, claimed)
		if err == nil {
			return outcome, nil
		}
		held.forget()
		if errors.Is(err, oona.ErrTooLarge) {
			k.config.Unstorable(run, err)
		}
		if errors.Is(err, oona.ErrDamaged) {
			k.config.Damaged(run, err)
		}
		if _, conflict := errors.AsType[*oona.ConflictError](err); !conflict {
			return Outcome[R]{}, err
		}
		k.conflicts.Add(1)
	}
	return Outcome[R]{}, fmt.Errorf("%s of run %q: %w", k.config.Part, run, ErrContended)
}

func (k *Keeper[R]) attempt(ctx context.Context, run string, held *entry[R], decide Decide[R], claimed bool) (Outcome[R], error) {
	cached := held.known
	if err := k.load(ctx, run, held); err != nil {
		return Outcome[R]{}, err
	}
	outcome, err := decide(held.record)
	if err == nil && cached && outcome.empty() {
		// No write will show that others have changed the record meanwhile.
		err = k.confirm(ctx, run, held)
	}
	if err != nil {
		return outcome, err
	}
	if outcome.empty() {
		outcome.stands()
		return outcome, nil
	}
	if claimed {
		outcome.Due = time.Time{}
	}
	return outcome, k.write(ctx, run, held, outcome)
}

// confirm fails with a *oona.ConflictError when a record is not the one that this
// process knows.
func (k *Keeper[R]) confirm(ctx context.Context, run string, held *entry[R]) error {
	stored, err := k.config.Store.Load(ctx, k.key(run))
	if err != nil {
		return fmt.Errorf("confirm %s record of run %q: %w", k.config.Part, run, err)
	}
	if stored.Version != held.version {
		return &oona.ConflictError{Key: k.key(run), Expected: held.version, Found: stored.Version}
	}
	return nil
}

// load fills an entry that holds nothing, and publishes what an earlier decision
// left behind.
func (k *Keeper[R]) load(ctx context.Context, run string, held *entry[R]) error {
	if held.known {
		return nil
	}
	stored, err := k.settled(ctx, run)
	if err != nil {
		return fmt.Errorf("load %s record of run %q: %w", k.config.Part, run, err)
	}
	if len(stored.Pending) > 0 {
		if err := k.recover(ctx, run, stored); err != nil {
			return err
		}
	}
	if err := held.fill(stored, k.config.Decode); err != nil {
		// A record that nobody can read would hold up its run for ever. The next
		// report tells enough to begin it anew.
		k.config.Lost(run, err)
		held.set(stored.Version, nil, 0)
	}
	return nil
}

// settled loads a record, and leaves whoever wrote it the time to publish its
// outputs: mostly it lives, and is about to.
func (k *Keeper[R]) settled(ctx context.Context, run string) (oona.Record, error) {
	for pause, waited := time.Millisecond, time.Duration(0); ; pause *= 2 {
		stored, err := k.config.Store.Load(ctx, k.key(run))
		if err != nil || len(stored.Pending) == 0 || waited >= k.config.Grace {
			return stored, err
		}
		if !cadence.Sleep(ctx, pause) {
			return stored, ctx.Err()
		}
		waited += pause
	}
}

func (k *Keeper[R]) recover(ctx context.Context, run string, stored oona.Record) error {
	outputs, err := decodeOutputs(stored.Pending)
	if err != nil {
		k.config.Lost(run, fmt.Errorf("outputs: %w", err))
		return k.settle(ctx, run, stored.Version)
	}
	if err := k.config.Publish(ctx, outputs); err != nil {
		return fmt.Errorf("publish what is left of run %q: %w", run, err)
	}
	k.recovered.Add(int64(len(outputs)))
	return k.settle(ctx, run, stored.Version)
}

func (k *Keeper[R]) write(ctx context.Context, run string, held *entry[R], outcome Outcome[R]) error {
	record := outcome.Record
	if record == nil {
		record = held.record
	}
	value, err := k.encode(record)
	if err != nil {
		return fmt.Errorf("encode %s record of run %q: %w", k.config.Part, run, err)
	}
	pending, err := encodeOutputs(outcome.Outputs)
	if err != nil {
		return fmt.Errorf("encode outputs of run %q: %w", run, err)
	}
	version, err := k.config.Store.Save(ctx, oona.RecordWrite{
		Key: k.key(run), Version: held.version, Value: value, Pending: pending, TTL: k.config.TTL,
		Orders: outcome.Orders, Due: outcome.Due,
	})
	if err != nil {
		return fmt.Errorf("save %s record of run %q: %w", k.config.Part, run, err)
	}
	held.set(version, record, len(value))
	outcome.stands()
	if len(pending) == 0 {
		return nil
	}
	if err := k.config.Publish(ctx, outcome.Outputs); err != nil {
		return fmt.Errorf("publish outputs of run %q: %w", run, err)
	}
	return k.settle(ctx, run, version)
}

func (k *Keeper[R]) encode(record *R) ([]byte, error) {
	if record == nil {
		return nil, nil
	}
	return k.config.Encode(record)
}

func (k *Keeper[R]) settle(ctx context.Context, run string, version int64) error {
	if err := k.config.Store.Settle(ctx, k.key(run), version); err != nil {
		return fmt.Errorf("settle outputs of run %q: %w", run, err)
	}
	return nil
}

func (k *Keeper[R]) key(run string) oona.RecordKey {
	return oona.RecordKey{Part: k.config.Part, Run: run}
}

// Peek returns a run's record as it is stored, or nil. Nobody may change it.
func (k *Keeper[R]) Peek(ctx context.Context, run string) (*R, error) {
	stored, err := k.config.Store.Load(ctx, k.key(run))
	if err != nil || stored.Version == 0 || len(stored.Value) == 0 {
		return nil, err
	}
	record, err := k.config.Decode(stored.Value)
	if err != nil {
		return nil, fmt.Errorf("%s record of run %q: %w", k.config.Part, run, err)
	}
	return record, nil
}

// Runs returns up to limit names of runs that follow one, "" for the first.
func (k *Keeper[R]) Runs(ctx context.Context, after string, limit int) ([]string, error) {
	return k.config.Store.Runs(ctx, k.config.Part, after, limit)
}

// Conflicts is how often a record was changed by another while it was decided on.
func (k *Keeper[R]) Conflicts() int64 { return k.conflicts.Load() }

// Recovered is how many outputs were found in records and published.
func (k *Keeper[R]) Recovered() int64 { return k.recovered.Load() }
