package urza

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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
	stores    stores
	signer    *signer
	trust     trust
	cache     *cache
	absent    *absent
	watch     *watcher
	clock     clock
	breaker   *breaker
	settling  singleflight.Group
	elsewhere elsewhere
	reported  sync.Map // blueprint id -> reason, of unreadable rows already logged
	closed    atomic.Bool

	counts counters
}

// counters of one library; see Metrics.
type counters struct {
	hits, misses, errors, expired, evictions atomic.Int64
	integrityFailures                        atomic.Int64
	untrusted, pruned                        atomic.Int64
	missing, quarantined, skipped            atomic.Int64 // as of the last Maintain
	scrub                                    scrubCounters
}

// Open opens, or creates, the catalogue and the artifact store. It fails when one
// of them cannot be written to, when the catalogue is no database with a blueprints
// table that it understands, or when a key cannot be read.
func Open(ctx context.Context, cfg Config) (*Library, error) {
	return open(ctx, cfg, disk{})
}

func open(ctx context.Context, cfg Config, files files) (*Library, error) {
	l, err := assemble(ctx, cfg.withDefaults(), files)
	if err != nil {
		return nil, fmt.Errorf("urza: %w", err)
	}
	return l, nil
}

func assemble(ctx context.Context, cfg Config, files files) (*Library, error) {
	signer, err := newSigner(cfg.SigningKeyFile, cfg.SigningKeyPassword)
	if err != nil {
		return nil, err
	}
	trust, err := newTrust(cfg.TrustedKeys)
	if err != nil {
		return nil, err
	}
	stores, err := openStores(ctx, cfg, files)
	if err != nil {
		return nil, err
	}
	stores.hashed = len(trust) > 0
	catalogue, err := openCatalogue(ctx, cfg.DatabaseURL)
	if err != nil {
		stores.close()
		return nil, err
	}
	l := &Library{
		cfg: cfg, log: cfg.Logger, catalogue: catalogue,
		stores: stores.owning(catalogue.db.folder), signer: signer, trust: trust,
		cache:   newCache(cfg.CacheSize),
		absent:  newAbsent(cfg.CacheSize),
		watch:   &watcher{db: catalogue.db, interval: cfg.Revalidate},
		clock:   newClock(),
		breaker: newBreaker(cfg),
	}
	if !cfg.FinishSaves {
		return l, nil
	}
	if err := l.finishLeftover(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("unfinished save: %w", err), l.Close())
	}
	return l, nil
}

func openCatalogue(ctx context.Context, databaseURL string) (*catalogue, error) {
	db, err := openDatabase(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	catalogue, err := newCatalogue(ctx, db)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("catalogue %s: %w", db.where, err), db.Close())
	}
	return catalogue, nil
}

// Close releases the database. It is idempotent; what comes after is ErrUnavailable.
func (l *Library) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	err := l.catalogue.close()
	l.watch.close() // last: with the pool closed it cannot take a new connection
	l.stores.close()
	if err != nil {
		return fmt.Errorf("urza: close catalogue: %w", err)
	}
	return nil
}

// Get returns the record of one blueprint, a copy that is the caller's own.
// Errors: ErrNotFound (also as *RowError), ErrUnavailable.
func (l *Library) Get(ctx context.Context, blueprintID string) (*Record, error) {
	e, err := l.entry(ctx, key{id: blueprintID})
	if err != nil {
		return nil, fmt.Errorf("urza: get %q: %w", blueprintID, err)
	}
	return l.sized(ctx, e.record.clone()), nil
}

// List reads every record from the catalogue itself, ordered by blueprint id.
// A row that cannot be read is left out, logged once and counted by Maintain.
func (l *Library) List(ctx context.Context) ([]*Record, error) {
	var records []*Record
	err := l.scan(ctx, func(_ row, record *Record) { records = append(records, record) }, l.reportRow)
	if err != nil {
		return nil, fmt.Errorf("urza: list: %w", err)
	}
	return records, l.sizeAll(ctx, records)
}

// Count is the number of rows in the catalogue. Unlike List it reads none of them.
func (l *Library) Count(ctx context.Context) (n int, err error) {
	if l.closed.Load() {
		return 0, fmt.Errorf("urza: count: %w: library closed", ErrUnavailable)
	}
	err = l.breaker.guard(func() error {
		n, err = l.catalogue.count(ctx)
		return err
	})
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
	e, err := l.reload(ctx, key{id: blueprintID})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = l.present(ctx, e)
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

// present looks at the file without reading it, unless it was found damaged before
// and something stands in its place now.
func (l *Library) present(ctx context.Context, e *entry) error {
	if _, err := l.stores.identify(ctx, e.record.ArtifactRef); errors.Is(err, fs.ErrNotExist) {
		return ErrArtifactMissing
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if sum := promised(e.record.ArtifactRef); sum != "" && e.record.Checksum != "" && sum != e.record.Checksum {
		return ErrChecksumMismatch // whichever of the two is wrong
	}
	if v := l.known(ctx, e); v != nil && v.err != nil {
		return v.err
	}
	if len(l.trust) > 0 && l.signatureIdentity(ctx, e) == (identity{}) {
		return ErrUntrusted
	}
	if e.row.quarantined {
		_, _, err := l.settle(ctx, e.row.key())
		return err
	}
	return nil
}

// scan decodes every blueprint's own row.
func (l *Library) scan(ctx context.Context, good func(row, *Record), bad func(*RowError)) error {
	if l.closed.Load() {
		return fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	return l.catalogue.each(ctx, decoded(good, bad))
}

// scanAll decodes the rows of the variants as well.
func (l *Library) scanAll(ctx context.Context, good func(row, *Record), bad func(*RowError)) error {
	if err := l.scan(ctx, good, bad); err != nil {
		return err
	}
	return l.catalogue.eachVariant(ctx, decoded(good, bad))
}

func decoded(good func(row, *Record), bad func(*RowError)) func(row) {
	return func(r row) {
		record, err := r.decode()
		if unreadable, ok := errors.AsType[*RowError](err); ok {
			bad(unreadable)
			return
		}
		good(r, record)
	}
}

// reportRow logs an unreadable row, once for each reason.
func (l *Library) reportRow(bad *RowError) {
	if seen, _ := l.reported.Swap(bad.BlueprintID, bad.Reason); seen == bad.Reason {
		return
	}
	l.log.Warn("catalogue row skipped", "blueprint_id", bad.BlueprintID, "reason", bad.Reason)
}

// sizeAll fills in how large the artifacts are. A store that does not answer leaves
// sizes out: what the catalogue says is worth having without them.
func (l *Library) sizeAll(ctx context.Context, records []*Record) error {
	sizes, err := l.stores.sizes(ctx)
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
	if now, err := l.stores.identify(ctx, record.ArtifactRef); err == nil {
		record.Bytes = now.size
	}
	return record
}
