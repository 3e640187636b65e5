// Package catalogue is the database side of the kernel library: SQLite in a file, or a
// Postgres server. Open gives a Catalogue, whose methods are whole look-ups and whole
// transactions; a Row is what it holds of one kernel, by its Key; Changes tells when
// somebody committed something. It knows nothing of artifacts: what must hold of them
// within a transaction comes as a function. Package urza calls it, with the rooms beside.
package catalogue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

const (
	selectRows = `SELECT b.blueprint_id, b.name, b.tier, b.artifact_path, b.metadata_json,
		q.blueprint_id IS NOT NULL, COALESCE(v.approved_checksum, ''), COALESCE(v.set_aside_at, ''), ''
		FROM blueprints b LEFT JOIN urza_quarantine q
		ON q.blueprint_id = b.blueprint_id AND q.artifact_path = b.artifact_path
		LEFT JOIN urza_reviews v ON v.blueprint_id = b.blueprint_id`
	selectVariants = `SELECT v.blueprint_id, v.name, v.tier, v.artifact_path, v.metadata_json,
		v.quarantined_at <> '', '', COALESCE(r.set_aside_at, ''), v.variant
		FROM urza_variants v LEFT JOIN urza_reviews r ON r.blueprint_id = v.blueprint_id`
	selectPrototype  = `SELECT blueprint_id, name, tier, artifact_path, metadata_json FROM blueprints`
	selectRow        = selectRows + ` WHERE b.blueprint_id = $1`
	selectVariant    = selectVariants + ` WHERE v.blueprint_id = $1 AND v.variant = $2`
	selectByChecksum = `SELECT id, variant FROM (
		SELECT blueprint_id AS id, '' AS variant FROM blueprints WHERE artifact_path IN ($2, $3)
		UNION ALL SELECT blueprint_id, variant FROM urza_variants WHERE checksum = $1
		) kernels ORDER BY variant <> '', id, variant`
	selectByEvicted = `SELECT e.blueprint_id, e.name, e.tier, e.artifact_path, e.metadata_json,
		FALSE, '', COALESCE(r.set_aside_at, ''), e.variant
		FROM urza_evicted e LEFT JOIN urza_reviews r ON r.blueprint_id = e.blueprint_id
		WHERE e.checksum = $1 ORDER BY e.evicted_at DESC LIMIT 1`
)

// Config says where a catalogue is and how its look-ups are guarded.
type Config struct {
	URL         string        // see urza.Config.DatabaseURL
	Poll        time.Duration // how often Changes asks the database; negative is each time
	MaxVariants int           // that are kept of one blueprint
	Slow        time.Duration // a look-up that takes longer counts as a failure
	Failures    uint32        // in a row that open the breaker of the look-ups
	OpenFor     time.Duration // how long it refuses before it probes
}

// Catalogue is an open catalogue. It is safe for concurrent use, also by several
// processes on one database. A look-up or a write returns fault.ErrUnavailable when the
// database did not answer, or not in time.
type Catalogue struct {
	db *catalogueDatabase
	// The statements of every look-up and of every save, read once.
	lookup, lookupVariant, previous, upsert, heal *sql.Stmt
	// writer is held by the one transaction of this process that writes: waiting for
	// it costs less than SQLite's own polling for the lock.
	writer      chan struct{}
	waiting     waiting
	breaker     *breaker
	changes     *Changes
	maxVariants int
}

// Open opens the database that the URL names, creates what is missing in it, and brings
// its tables up to date.
func Open(ctx context.Context, cfg Config) (*Catalogue, error) {
	db, err := openDatabase(ctx, cfg.URL)
	if err != nil {
		return nil, err
	}
	c := &Catalogue{
		db: db, writer: make(chan struct{}, 1), maxVariants: cfg.MaxVariants,
		breaker: newBreaker(cfg), changes: &Changes{db: db, interval: cfg.Poll},
	}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("catalogue %s: %w", db.Where, err), db.Close())
	}
	return c, nil
}

func (c *Catalogue) prepare(ctx context.Context) error {
	for _, statement := range []struct {
		kept **sql.Stmt
		text string
	}{
		{&c.lookup, selectRow}, {&c.lookupVariant, selectVariant},
		{&c.previous, selectMetadata}, {&c.upsert, upsertRow}, {&c.heal, deleteQuarantine},
	} {
		prepared, err := c.db.PrepareContext(ctx, statement.text) //nolint:sqlclosecheck // Close does
		if err != nil {                                           // closing the database closes the others
			return fmt.Errorf("prepare statement: %w", err)
		}
		*statement.kept = prepared
	}
	return nil
}

// Close releases the database; it is idempotent.
func (c *Catalogue) Close() error {
	err := errors.Join(c.lookup.Close(), c.lookupVariant.Close(), c.previous.Close(), c.upsert.Close(), c.heal.Close(), c.db.Close())
	c.changes.close() // last: with the pool closed it cannot take a new connection
	return err
}

// Folder is that of the database's file; empty for a server.
func (c *Catalogue) Folder() string { return c.db.Folder }

// Changes tells when the catalogue changed.
func (c *Catalogue) Changes() *Changes { return c.changes }

// Lookups is what is known of the look-ups: Row, Ping, Count, WithChecksum and Evicted.
func (c *Catalogue) Lookups() Lookups { return c.breaker.lookups() }

// Row reads one row: ErrNotFound when there is none.
func (c *Catalogue) Row(ctx context.Context, k Key) (Row, error) {
	return guarded(ctx, c, func(ctx context.Context) (Row, error) {
		switch {
		case !Storable(k.ID) || !Storable(k.Variant):
			return Row{}, fault.ErrNotFound
		case k.Variant == "":
			return scanRow(c.lookup.QueryRowContext(ctx, k.ID))
		default:
			return scanRow(c.lookupVariant.QueryRowContext(ctx, k.ID, k.Variant))
		}
	})
}

// Ping asks for a sign of life.
func (c *Catalogue) Ping(ctx context.Context) error {
	if _, err := c.Row(ctx, Key{}); !errors.Is(err, fault.ErrNotFound) {
		return err
	}
	return nil
}

// Count is the number of rows of blueprints, readable or not.
func (c *Catalogue) Count(ctx context.Context) (int, error) {
	return guarded(ctx, c, func(ctx context.Context) (n int, err error) {
		if err := c.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM blueprints").Scan(&n); err != nil {
			return 0, fmt.Errorf("%w: count rows: %w", fault.ErrUnavailable, err)
		}
		return n, nil
	})
}

// WithChecksum are the kernels whose rows promise an artifact of that checksum:
// blueprints by the two paths that the artifact may lie at, variants by their own word.
func (c *Catalogue) WithChecksum(ctx context.Context, sum, onnx, pt string) ([]Key, error) {
	return guarded(ctx, c, func(ctx context.Context) (keys []Key, _ error) {
		rows, err := c.db.QueryContext(ctx, selectByChecksum, sum, onnx, pt) //nolint:sqlclosecheck // visitRows does
		err = visitRows(rows, err, func(from scanner) error {
			var k Key
			if err := from.Scan(&k.ID, &k.Variant); err != nil {
				return fmt.Errorf("%w: find checksum: %w", fault.ErrUnavailable, err)
			}
			keys = append(keys, k)
			return nil
		})
		return keys, err
	})
}

// Evicted is the row of the variant with that checksum that was evicted last.
func (c *Catalogue) Evicted(ctx context.Context, sum string) (Row, error) {
	return guarded(ctx, c, func(ctx context.Context) (Row, error) {
		return scanRow(c.db.QueryRowContext(ctx, selectByEvicted, sum))
	})
}

// lookupTimeout bounds one look-up in a database that hangs.
const lookupTimeout = 5 * time.Second

// guarded is withDeadline through the breaker.
func guarded[T any](ctx context.Context, c *Catalogue, look func(context.Context) (T, error)) (found T, err error) {
	err = c.breaker.guard(func() error {
		if err = c.db.inPlace(); err != nil {
			return err
		}
		found, err = withDeadline(ctx, look)
		return err
	})
	c.db.Doubt(err)
	return found, err
}

func withDeadline[T any](ctx context.Context, look func(context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := look(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		// Not the caller's deadline: nobody may take it for one.
		err = fmt.Errorf("%w: no answer within %s", fault.ErrUnavailable, lookupTimeout)
	}
	return found, err
}

// Each calls visit for every blueprint's own row, ordered by blueprint id.
func (c *Catalogue) Each(ctx context.Context, visit func(Row)) error {
	return c.list(ctx, visit, selectRows+c.db.dialect.byID)
}

// EachVariant calls visit for every row of a variant, ordered by blueprint id and key.
func (c *Catalogue) EachVariant(ctx context.Context, visit func(Row)) error {
	return c.list(ctx, visit, selectVariants+c.db.dialect.byVariant)
}

// Query calls visit for each row that a question found, whose columns scan reads.
func (c *Catalogue) Query(ctx context.Context, question string, visit func(scan func(columns ...any) error) error) error {
	rows, err := c.db.QueryContext(ctx, question) //nolint:sqlclosecheck // visitRows does
	err = visitRows(rows, err, func(from scanner) error { return visit(from.Scan) })
	c.db.Doubt(err)
	return err
}

func (c *Catalogue) list(ctx context.Context, visit func(Row), query string) error {
	if err := c.db.inPlace(); err != nil {
		return err
	}
	rows, err := c.db.QueryContext(ctx, query) //nolint:gosec,sqlclosecheck // made of constants; visitRows closes
	err = visitRows(rows, err, func(from scanner) error {
		r, err := scanRow(from)
		if err == nil {
			visit(r)
		}
		return err
	})
	c.db.Doubt(err)
	return err
}
