package urza

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"
)

// Library is the kernel library. It is safe for concurrent use, also by several
// processes on one catalogue.
type Library struct {
	cfg       Config
	log       *slog.Logger
	catalogue *catalogue
	store     artifacts
	folders   []string // files in these are ours to move
	cache     *cache
	watch     *watcher
	breaker   *breaker
	settling  singleflight.Group
	reported  sync.Map // blueprint id -> reason, of unreadable rows already logged
	closed    atomic.Bool

	counts counters
}

// counters of one library; see Metrics.
type counters struct {
	hits, misses, errors, expired, evictions atomic.Int64
	integrityFailures                        atomic.Int64
	missing, quarantined, skipped            atomic.Int64 // as of the last Maintain
}

// Open opens, or creates, the catalogue and the artifact folder. It fails when one
// of them cannot be written to, or when the catalogue is not a SQLite database
// with a blueprints table that it understands.
func Open(ctx context.Context, cfg Config) (*Library, error) {
	return open(ctx, cfg, disk{})
}

func open(ctx context.Context, cfg Config, files files) (*Library, error) {
	cfg = cfg.withDefaults()
	file, err := databaseFile(cfg.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("urza: %w", err)
	}
	dir, err := filepath.Abs(cfg.ArtifactDir)
	if err != nil {
		return nil, fmt.Errorf("urza: artifact folder: %w", err)
	}
	if err := writableFolder(dir); err != nil {
		return nil, fmt.Errorf("urza: artifact folder: %w", err)
	}
	db, err := openDatabase(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("urza: %w", err)
	}
	catalogue, err := newCatalogue(ctx, db)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("urza: catalogue %s: %w", file, err), db.Close())
	}
	return &Library{
		cfg: cfg, log: cfg.Logger, catalogue: catalogue,
		store:   artifacts{dir: dir, files: files},
		folders: []string{dir, filepath.Dir(dir), filepath.Dir(file)},
		cache:   newCache(cfg.CacheSize),
		watch:   &watcher{db: db, interval: cfg.Revalidate},
		breaker: newBreaker(cfg),
	}, nil
}

// Close releases the database. It is idempotent; what comes after is ErrUnavailable.
func (l *Library) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	err := l.catalogue.close()
	l.watch.close() // last: with the pool closed it cannot take a new connection
	if err != nil {
		return fmt.Errorf("urza: close catalogue: %w", err)
	}
	return nil
}

// Get returns the record of one blueprint, a copy that is the caller's own.
// Errors: ErrNotFound (also as *RowError), ErrUnavailable.
func (l *Library) Get(ctx context.Context, blueprintID string) (*Record, error) {
	e, err := l.entry(ctx, blueprintID)
	if err != nil {
		return nil, fmt.Errorf("urza: get %q: %w", blueprintID, err)
	}
	return sized(e.record.clone()), nil
}

// List reads every record from the catalogue itself, ordered by blueprint id.
// A row that cannot be read is left out, logged once and counted by Maintain.
func (l *Library) List(ctx context.Context) ([]*Record, error) {
	var records []*Record
	err := l.scan(ctx, func(_ row, record *Record) { records = append(records, record) }, l.reportRow)
	if err != nil {
		return nil, fmt.Errorf("urza: list: %w", err)
	}
	for _, record := range records {
		sized(record)
	}
	return records, nil
}

// Has reports whether a blueprint can be served: its row is readable, its file is
// there and is not known to be damaged. The catalogue itself is asked, so a forge
// that compiles what is not there heals whatever was lost.
func (l *Library) Has(ctx context.Context, blueprintID string) (bool, error) {
	e, err := l.reload(ctx, blueprintID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = l.present(ctx, e)
	}
	if errors.Is(err, ErrChecksumMismatch) || errors.Is(err, ErrArtifactMissing) || errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("urza: has %q: %w", blueprintID, err)
	}
	return true, nil
}

// present looks at the file without reading it, unless it was found damaged before
// and something stands in its place now.
func (l *Library) present(ctx context.Context, e *entry) error {
	if _, err := identify(e.record.ArtifactRef); errors.Is(err, fs.ErrNotExist) {
		return ErrArtifactMissing
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if v := e.known(); v != nil && !v.good {
		return ErrChecksumMismatch
	}
	if e.row.quarantined {
		_, _, err := l.settle(ctx, e.row.id)
		return err
	}
	return nil
}

// scan decodes every row of the catalogue.
func (l *Library) scan(ctx context.Context, good func(row, *Record), bad func(*RowError)) error {
	if l.closed.Load() {
		return fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	return l.catalogue.each(ctx, func(r row) {
		record, err := r.decode()
		if unreadable, ok := errors.AsType[*RowError](err); ok {
			bad(unreadable)
			return
		}
		good(r, record)
	})
}

// reportRow logs an unreadable row, once for each reason.
func (l *Library) reportRow(bad *RowError) {
	if seen, _ := l.reported.Swap(bad.BlueprintID, bad.Reason); seen == bad.Reason {
		return
	}
	l.log.Warn("catalogue row skipped", "blueprint_id", bad.BlueprintID, "reason", bad.Reason)
}

// sized fills in how large the file is.
func sized(record *Record) *Record {
	if now, err := identify(record.ArtifactRef); err == nil {
		record.Bytes = now.size
	}
	return record
}
