package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	selectRows = `SELECT b.blueprint_id, b.name, b.tier, b.artifact_path, b.metadata_json,
		q.blueprint_id IS NOT NULL, COALESCE(v.approved_checksum, ''), COALESCE(v.set_aside_at, ''), ''
		FROM blueprints b LEFT JOIN urza_quarantine q
		ON q.blueprint_id = b.blueprint_id AND q.artifact_path = b.artifact_path
		LEFT JOIN urza_reviews v ON v.blueprint_id = b.blueprint_id`
	selectPrototype = `SELECT blueprint_id, name, tier, artifact_path, metadata_json FROM blueprints`
	selectRow       = selectRows + ` WHERE b.blueprint_id = $1`
	selectSharing   = selectRows + ` WHERE b.artifact_path = $1 AND b.blueprint_id <> $2`
	selectMetadata  = `SELECT metadata_json FROM blueprints WHERE blueprint_id = $1`
	upsertRow       = `INSERT INTO blueprints (blueprint_id, name, tier, artifact_path, metadata_json)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (blueprint_id) DO UPDATE SET name = excluded.name, tier = excluded.tier,
		artifact_path = excluded.artifact_path, metadata_json = excluded.metadata_json`
	updateMetadata = `UPDATE blueprints SET metadata_json = $1 WHERE blueprint_id = $2`
	// Every blueprint that shares the file shares its fate.
	insertQuarantine = `INSERT INTO urza_quarantine
		(blueprint_id, artifact_path, expected_checksum, actual_checksum, moved_to, detected_at)
		SELECT blueprint_id, artifact_path, $2, $3, $4, $5 FROM blueprints WHERE artifact_path = $1
		ON CONFLICT (blueprint_id) DO UPDATE SET artifact_path = excluded.artifact_path,
		expected_checksum = excluded.expected_checksum, actual_checksum = excluded.actual_checksum,
		moved_to = excluded.moved_to, detected_at = excluded.detected_at`
	deleteQuarantine = `DELETE FROM urza_quarantine WHERE blueprint_id = $1 OR artifact_path = $2`
)

// catalogue is the database side of the library.
type catalogue struct {
	db *database
	// The statements of every look-up and of every save, read once.
	lookup, lookupVariant, previous, upsert, heal *sql.Stmt
	// writer is held by the one transaction of this process that writes: waiting for
	// it costs less than SQLite's own polling for the lock.
	writer  chan struct{}
	waiting waiting
}

func newCatalogue(ctx context.Context, db *database) (*catalogue, error) {
	c := &catalogue{db: db, writer: make(chan struct{}, 1)}
	for _, statement := range []struct {
		kept **sql.Stmt
		text string
	}{
		{&c.lookup, selectRow}, {&c.lookupVariant, selectVariant},
		{&c.previous, selectMetadata}, {&c.upsert, upsertRow}, {&c.heal, deleteQuarantine},
	} {
		prepared, err := db.PrepareContext(ctx, statement.text) //nolint:sqlclosecheck // close does
		if err != nil {                                         // closing the database closes the others
			return nil, fmt.Errorf("prepare statement: %w", err)
		}
		*statement.kept = prepared
	}
	return c, nil
}

// row reads one row: ErrNotFound when there is none, ErrUnavailable when the
// database did not answer, or not in time.
func (c *catalogue) row(ctx context.Context, k key) (row, error) {
	if !storable(k.id) || !storable(k.variant) {
		return row{}, ErrNotFound
	}
	bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := scanRow(c.find(bounded, k))
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		// Not the caller's deadline: nobody may take it for one.
		return row{}, fmt.Errorf("%w: no answer within %s", ErrUnavailable, lookupTimeout)
	}
	return found, err
}

func (c *catalogue) find(ctx context.Context, k key) *sql.Row {
	if k.variant == "" {
		return c.lookup.QueryRowContext(ctx, k.id)
	}
	return c.lookupVariant.QueryRowContext(ctx, k.id, k.variant)
}

// lookupTimeout bounds one look-up in a database that hangs.
const lookupTimeout = 5 * time.Second

// storable is false for ids that Postgres refuses to compare with: they are in no
// row, and asking for one is no failure of the database.
func storable(id string) bool { return utf8.ValidString(id) && !strings.ContainsRune(id, 0) }

type scanner interface{ Scan(dest ...any) error }

func scanRow(from scanner) (row, error) {
	var r row
	err := from.Scan(&r.id, &r.name, &r.tier, &r.path, &r.metadata, &r.quarantined, &r.approved, &r.setAside, &r.variant)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return row{}, ErrNotFound
	case err != nil:
		return row{}, fmt.Errorf("%w: read row: %w", ErrUnavailable, err)
	}
	return r, nil
}

// count is the number of rows, readable or not.
func (c *catalogue) count(ctx context.Context) (n int, err error) {
	if err := c.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM blueprints").Scan(&n); err != nil {
		return 0, fmt.Errorf("%w: count rows: %w", ErrUnavailable, err)
	}
	return n, nil
}

// each calls visit for every blueprint's own row, ordered by blueprint id.
func (c *catalogue) each(ctx context.Context, visit func(row)) error {
	return c.list(ctx, visit, selectRows+c.db.dialect.byID)
}

// eachVariant calls visit for every row of a variant, ordered by blueprint id.
func (c *catalogue) eachVariant(ctx context.Context, visit func(row)) error {
	return c.list(ctx, visit, selectVariants+c.db.dialect.byVariant)
}

// list calls visit for the rows that a query finds.
func (c *catalogue) list(ctx context.Context, visit func(row), query string) error {
	rows, err := c.db.QueryContext(ctx, query) //nolint:gosec // made of constants
	if err != nil {
		return fmt.Errorf("%w: list rows: %w", ErrUnavailable, err)
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return err
		}
		visit(r)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%w: list rows: %w", ErrUnavailable, err)
	}
	return nil
}

// write runs one transaction in which nobody else writes, in this process or another.
func (c *catalogue) write(ctx context.Context, change func(context.Context, *sql.Tx) error) error {
	select {
	case c.writer <- struct{}{}:
		defer func() { <-c.writer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := c.transact(bounded, func(tx *sql.Tx) error { return change(bounded, tx) })
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("%w: not written within %s", ErrUnavailable, writeTimeout) // as in row
	}
	return err
}

// writeTimeout bounds a transaction in a database that hangs; the others wait for it.
const writeTimeout = 30 * time.Second

func (c *catalogue) transact(ctx context.Context, change func(*sql.Tx) error) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: begin: %w", ErrUnavailable, err)
	}
	if err := c.lockAnd(ctx, tx, change); err != nil {
		return errors.Join(err, rollback(tx))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: commit: %w", ErrUnavailable, err)
	}
	return nil
}

func (c *catalogue) lockAnd(ctx context.Context, tx *sql.Tx, change func(*sql.Tx) error) error {
	if lock := c.db.dialect.lock; lock != "" {
		if _, err := tx.ExecContext(ctx, lock); err != nil { //nolint:gosec // a constant
			return fmt.Errorf("%w: lock: %w", ErrUnavailable, err)
		}
	}
	return change(tx)
}

// rollback ends a transaction that a cancelled context may have ended already.
func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// clearQuarantine forgets that the file at path was bad.
func (c *catalogue) clearQuarantine(ctx context.Context, r row) error {
	return c.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if r.variant != "" {
			_, err := tx.ExecContext(ctx, healVariants, r.path)
			return err
		}
		_, err := tx.ExecContext(ctx, deleteQuarantine, r.id, r.path)
		return err
	})
}

func (c *catalogue) recordQuarantine(ctx context.Context, tx *sql.Tx, r row, expected, actual, movedTo string) error {
	now := timestamp()
	if _, err := tx.ExecContext(ctx, insertQuarantine, r.path, expected, actual, movedTo, now); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, quarantineVariants, r.path, now)
	return err
}

func (c *catalogue) close() error {
	return errors.Join(c.lookup.Close(), c.lookupVariant.Close(), c.previous.Close(), c.upsert.Close(), c.heal.Close(), c.db.Close())
}
