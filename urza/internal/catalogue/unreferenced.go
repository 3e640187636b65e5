package catalogue

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

const (
	selectUnreferenced = `SELECT artifact_path, seen_at FROM urza_unreferenced`
	insertUnreferenced = `INSERT INTO urza_unreferenced (artifact_path, seen_at) VALUES ($1, $2)
		ON CONFLICT (artifact_path) DO UPDATE SET seen_at = excluded.seen_at`
	deleteUnreferenced = `DELETE FROM urza_unreferenced WHERE artifact_path = $1`
	countReferences    = `SELECT (SELECT COUNT(*) FROM blueprints WHERE artifact_path = $1)
		+ (SELECT COUNT(*) FROM urza_variants WHERE artifact_path = $1)`

	// A file that no variant ever referred to.
	insertRefused = `INSERT INTO urza_evicted (artifact_path, evicted_at) VALUES ($1, $2)
		ON CONFLICT (artifact_path) DO UPDATE SET evicted_at = excluded.evicted_at`
	selectEvicted = `SELECT artifact_path FROM urza_evicted WHERE evicted_at < $1`
	deleteEvicted = `DELETE FROM urza_evicted WHERE artifact_path = $1`
)

// Refused lets go of the artifact of a variant that found no room.
func (c *Catalogue) Refused(ctx context.Context, ref string) error {
	return c.writeOne(ctx, "note a file", insertRefused, ref, time.Now().UnixMilli())
}

// EvictedBefore are the artifacts that variants let go of before then.
func (c *Catalogue) EvictedBefore(ctx context.Context, then time.Time) ([]string, error) {
	return texts(c.db.QueryContext(ctx, selectEvicted, then.UnixMilli()))
}

// Unreferenced is when each noted artifact was first seen to have no row.
func (c *Catalogue) Unreferenced(ctx context.Context) (map[string]time.Time, error) {
	since := map[string]time.Time{}
	rows, err := c.db.QueryContext(ctx, selectUnreferenced) //nolint:sqlclosecheck // visitRows does
	return since, visitRows(rows, err, func(from scanner) error {
		var ref, text string
		if err := from.Scan(&ref, &text); err != nil {
			return fmt.Errorf("%w: list orphans: %w", fault.ErrUnavailable, err)
		}
		if seen, err := time.Parse(time.RFC3339Nano, text); err == nil {
			since[ref] = seen
		}
		return nil
	})
}

// NoteUnreferenced notes artifacts that no row refers to as of now, and forgets others
// that were noted.
func (c *Catalogue) NoteUnreferenced(ctx context.Context, orphans, others []string, now time.Time) error {
	return c.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, ref := range orphans {
			if err := execute(ctx, tx, "note orphan", insertUnreferenced, ref, now.Format(time.RFC3339Nano)); err != nil {
				return err
			}
		}
		for _, ref := range others {
			if err := execute(ctx, tx, "forget orphan", deleteUnreferenced, ref); err != nil {
				return err
			}
		}
		return nil
	})
}

// Remove forgets what was noted of an artifact, and removes it by the function unless a
// row refers to it after all. No save can commit meanwhile.
func (c *Catalogue) Remove(ctx context.Context, ref string, remove func(context.Context) error) (removed bool, err error) {
	err = c.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		references := 0
		if err := tx.QueryRowContext(ctx, countReferences, ref).Scan(&references); err != nil {
			return fmt.Errorf("%w: count references: %w", fault.ErrUnavailable, err)
		}
		for _, forget := range []string{deleteUnreferenced, deleteEvicted} {
			if err := execute(ctx, tx, "forget orphan", forget, ref); err != nil {
				return err
			}
		}
		removed = references == 0
		if !removed {
			return nil
		}
		return remove(ctx)
	})
	return removed && err == nil, err
}
