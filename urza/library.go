package urza

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/notes"
	"github.com/esper-lite/weatherlight/urza/internal/recovery"
	"github.com/esper-lite/weatherlight/urza/internal/retention"
)

// Library is the kernel library. It is safe for concurrent use, also by several
// processes on one catalogue.
type Library struct {
	log       *slog.Logger
	catalogue *catalogue.Catalogue
	store     *artifact.Store
	lookup    *lookup
	verifier  *verifier
	pruner    retention.Pruner
	elsewhere *elsewhere
	evidence  *EvidenceStore
	counts    counters
}

// counters of one library; see Stats.
type counters struct {
	pruned                        atomic.Int64
	missing, quarantined, skipped atomic.Int64 // as of the last Maintain
	scrub                         scrubCounters
}

// Open opens, or creates, the catalogue and the artifact store. It fails when one
// of them cannot be written to, when the catalogue is no database with a blueprints
// table that it understands, or when a key cannot be read.
func Open(ctx context.Context, cfg Config) (*Library, error) {
	return open(ctx, cfg, artifact.Disk{})
}

func open(ctx context.Context, cfg Config, files artifact.Files) (*Library, error) {
	l, err := assemble(ctx, cfg.withDefaults(), files)
	if err != nil {
		return nil, fmt.Errorf("urza: %w", err)
	}
	return l, nil
}

func assemble(ctx context.Context, cfg Config, files artifact.Files) (*Library, error) {
	store, err := artifact.Open(ctx, cfg.artifacts(), files)
	if err != nil {
		return nil, err
	}
	opened, err := catalogue.Open(ctx, cfg.catalogue())
	if err != nil {
		store.Close()
		return nil, err
	}
	if folder := opened.Folder(); folder != "" {
		store.Own(folder)
	}
	l := &Library{
		log: cfg.Logger, catalogue: opened, store: store, lookup: newLookup(opened, cfg),
		pruner: retention.Pruner{Catalogue: opened, Store: store, Retention: cfg.Retention},
	}
	l.elsewhere = &elsewhere{lookup: l.lookup, store: store}
	l.evidence = &EvidenceStore{lookup: l.lookup, notes: notes.In(opened)}
	l.verifier = &verifier{
		lookup: l.lookup, catalogue: opened, store: store, log: cfg.Logger,
		revalidate: cfg.Revalidate, objectTrust: cfg.ObjectTrust,
	}
	if !cfg.FinishSaves {
		return l, nil
	}
	if err := (recovery.Journal{Catalogue: opened, Store: store, Log: cfg.Logger}).Finish(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("unfinished save: %w", err), l.Close())
	}
	return l, nil
}

// Close releases the database. It is idempotent; what comes after is ErrUnavailable.
func (l *Library) Close() error {
	if l.lookup.closed.Swap(true) {
		return nil
	}
	err := l.catalogue.Close()
	l.store.Close()
	if err != nil {
		return fmt.Errorf("urza: close catalogue: %w", err)
	}
	return nil
}

// Ping asks the catalogue for a sign of life, through the breaker: so an outage
// is known, and its end too, although nobody looks anything up. When it returns nil
// the breaker lets look-ups through. It counts as no look-up.
func (l *Library) Ping(ctx context.Context) error {
	err := l.lookup.open()
	if err == nil {
		err = l.catalogue.Ping(ctx)
	}
	for err == nil && l.catalogue.Lookups().Circuit == leyline.CircuitBreakerState_CIRCUIT_STATE_HALF_OPEN {
		err = l.catalogue.Ping(ctx)
	}
	if err != nil {
		return fmt.Errorf("urza: ping: %w", err)
	}
	return nil
}

// InPlace reports the want of the folder of artifacts that was opened; of the catalogue Ping does.
func (l *Library) InPlace() error { return l.store.InPlace() }

// Get returns the record of one blueprint, a copy that is the caller's own.
// Errors: ErrNotFound (also as *RowError), ErrUnavailable.
func (l *Library) Get(ctx context.Context, blueprintID string) (*Record, error) {
	e, err := l.lookup.entry(ctx, catalogue.Key{ID: blueprintID})
	if err != nil {
		return nil, fmt.Errorf("urza: get %q: %w", blueprintID, err)
	}
	return l.sized(ctx, e.record.clone()), nil
}

// List reads every record from the catalogue itself, ordered by blueprint id.
// A row that cannot be read is left out, logged once and counted by Maintain.
func (l *Library) List(ctx context.Context) ([]*Record, error) {
	records, err := l.collect(ctx, l.catalogue.Each, all)
	if err != nil {
		return nil, fmt.Errorf("urza: list: %w", err)
	}
	return records, nil
}

// Variants reads the records of all variants, ordered by blueprint id and key. Rows
// that cannot be read are treated as by List.
func (l *Library) Variants(ctx context.Context) ([]*Record, error) {
	records, err := l.collect(ctx, l.catalogue.EachVariant, all)
	if err != nil {
		return nil, fmt.Errorf("urza: list variants: %w", err)
	}
	return records, nil
}

// Count is the number of rows in the catalogue. Unlike List it reads none of them.
func (l *Library) Count(ctx context.Context) (n int, err error) {
	if err = l.lookup.open(); err == nil {
		n, err = l.catalogue.Count(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("urza: count: %w", err)
	}
	return n, nil
}

// Has reports whether a blueprint can be served: its row is readable, its file is
// there and is not known to be damaged. The catalogue itself is asked, so a forge
// that compiles what is not there heals whatever was lost. A kernel that an operator
// set aside is there: compiling it again would change nothing.
func (l *Library) Has(ctx context.Context, blueprintID string) (bool, error) {
	e, err := l.lookup.reload(ctx, catalogue.Key{ID: blueprintID})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = l.verifier.present(ctx, e)
	}
	for _, unusable := range []error{ErrChecksumMismatch, ErrArtifactMissing, ErrNotFound, ErrUntrusted} {
		if errors.Is(err, unusable) {
			return false, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("urza: has %q: %w", blueprintID, err)
	}
	return true, nil
}

// Verify reads the artifact of one blueprint again and compares it with the row,
// whatever is remembered about it. A file that differs is quarantined.
// Errors: ErrNotFound, ErrArtifactMissing, ErrChecksumMismatch, ErrUntrusted,
// ErrUnreadable, ErrUnavailable.
func (l *Library) Verify(ctx context.Context, blueprintID string) error {
	if _, _, err := l.verifier.settle(ctx, catalogue.Key{ID: blueprintID}); err != nil {
		return fmt.Errorf("urza: verify %q: %w", blueprintID, err)
	}
	return nil
}

func all(*Record) bool { return true }

// collect reads the records that match, with the sizes of their artifacts.
func (l *Library) collect(ctx context.Context, from rows, matches func(*Record) bool) (records []*Record, err error) {
	_, err = l.lookup.scan(ctx, func(_ catalogue.Row, record *Record) {
		if matches(record) {
			records = append(records, record)
		}
	}, from)
	if err != nil {
		return nil, err
	}
	return records, l.sizeAll(ctx, records)
}

// sizeAll fills in how large the artifacts are. A store that does not answer leaves
// sizes out: what the catalogue says is worth having without them.
func (l *Library) sizeAll(ctx context.Context, records []*Record) error {
	sizes, err := l.store.Sizes(ctx)
	if err != nil {
		l.log.Warn("sizes of artifacts unknown", "error", err)
		return ctx.Err()
	}
	for _, record := range records {
		if size, listed := sizes[record.ArtifactRef]; listed {
			record.Bytes = size
		} else {
			l.sized(ctx, record)
		}
	}
	return nil
}

// sized fills in how large the artifact is.
func (l *Library) sized(ctx context.Context, record *Record) *Record {
	if now, err := l.store.Identify(ctx, record.ArtifactRef); err == nil {
		record.Bytes = now.Size
	}
	return record
}
