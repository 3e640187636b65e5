package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	selectRows = `SELECT b.blueprint_id, b.name, b.tier, b.artifact_path, b.metadata_json, q.blueprint_id IS NOT NULL
		FROM blueprints b LEFT JOIN urza_quarantine q
		ON q.blueprint_id = b.blueprint_id AND q.artifact_path = b.artifact_path`
	selectRow = selectRows + ` WHERE b.blueprint_id = $1`
	upsertRow = `INSERT INTO blueprints (blueprint_id, name, tier, artifact_path, metadata_json)
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
	db     *sql.DB
	lookup *sql.Stmt
	// writer is held by the one transaction of this process that writes: waiting for
	// it costs less than SQLite's own polling for the lock.
	writer chan struct{}
}

func newCatalogue(ctx context.Context, db *sql.DB) (*catalogue, error) {
	lookup, err := db.PrepareContext(ctx, selectRow)
	if err != nil {
		return nil, fmt.Errorf("prepare look-up: %w", err)
	}
	return &catalogue{db: db, lookup: lookup, writer: make(chan struct{}, 1)}, nil
}

// row reads one row: ErrNotFound when there is none, ErrUnavailable when the
// database did not answer.
func (c *catalogue) row(ctx context.Context, id string) (row, error) {
	return scanRow(c.lookup.QueryRowContext(ctx, id))
}

type scanner interface{ Scan(dest ...any) error }

func scanRow(from scanner) (row, error) {
	var r row
	err := from.Scan(&r.id, &r.name, &r.tier, &r.path, &r.metadata, &r.quarantined)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return row{}, ErrNotFound
	case err != nil:
		return row{}, fmt.Errorf("%w: read row: %w", ErrUnavailable, err)
	}
	return r, nil
}

// each calls visit for every row, ordered by blueprint id.
func (c *catalogue) each(ctx context.Context, visit func(row)) error {
	rows, err := c.db.QueryContext(ctx, selectRows+" ORDER BY b.blueprint_id")
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

// write runs one immediate transaction: from its first statement on, nobody else
// writes, in this process or another.
func (c *catalogue) write(ctx context.Context, change func(*sql.Tx) error) error {
	select {
	case c.writer <- struct{}{}:
		defer func() { <-c.writer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: begin: %w", ErrUnavailable, err)
	}
	if err := change(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: commit: %w", ErrUnavailable, err)
	}
	return nil
}

// clearQuarantine forgets that the file at path was bad.
func (c *catalogue) clearQuarantine(ctx context.Context, r row) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, deleteQuarantine, r.id, r.path)
		return err
	})
}

func (c *catalogue) recordQuarantine(ctx context.Context, tx *sql.Tx, r row, expected, actual, movedTo string) error {
	detected := time.Now().UTC().Format(time.RFC3339Nano)
	_, err := tx.ExecContext(ctx, insertQuarantine, r.path, expected, actual, movedTo, detected)
	return err
}

func (c *catalogue) close() error {
	return errors.Join(c.lookup.Close(), c.db.Close())
}
