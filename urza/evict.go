package urza

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// Those that were used last stay, as many as fit beside the new one.
	selectIdle = `SELECT variant, artifact_path FROM urza_variants
		WHERE blueprint_id = $1 AND variant <> $2 AND used_at < $3 ORDER BY used_at, variant LIMIT $4`
	deleteVariant = `DELETE FROM urza_variants WHERE blueprint_id = $1 AND variant = $2`
	insertEvicted = `INSERT INTO urza_evicted (artifact_path, evicted_at) VALUES ($1, $2)
		ON CONFLICT (artifact_path) DO UPDATE SET evicted_at = excluded.evicted_at`
	selectEvicted = `SELECT artifact_path FROM urza_evicted WHERE evicted_at < $1`
	deleteEvicted = `DELETE FROM urza_evicted WHERE artifact_path = $1`
)

// evictedKept is how long the file of a variant that made room stays: a trainer may
// have been told of it.
const evictedKept = 24 * time.Hour

// makeRoom removes what must go so that a variant fits beside the others of its
// blueprint. One that is there already takes no room.
func (l *Library) makeRoom(ctx context.Context, tx *sql.Tx, k key, now time.Time) error {
	others := 0
	if err := tx.QueryRowContext(ctx, countVariants+` AND variant <> $2`, k.id, k.variant).Scan(&others); err != nil {
		return fmt.Errorf("%w: count variants: %w", ErrUnavailable, err)
	}
	excess := others + 1 - l.cfg.MaxVariants
	if excess <= 0 {
		return nil
	}
	// A use may be noted that much later than it was.
	idle, err := pairs(ctx, tx, selectIdle, k.id, k.variant, now.Add(-variantInUse-touchInterval).UnixMilli(), excess)
	if err != nil {
		return err
	}
	if len(idle) < excess {
		return fmt.Errorf("%w: %d", ErrTooManyVariants, others)
	}
	for _, gone := range idle {
		_, err := tx.ExecContext(ctx, deleteVariant, k.id, gone[0])
		if err == nil {
			_, err = tx.ExecContext(ctx, insertEvicted, gone[1], now.UnixMilli())
		}
		if err != nil {
			return fmt.Errorf("%w: evict variant: %w", ErrUnavailable, err)
		}
	}
	return nil
}

// pairs reads two texts a row.
func pairs(ctx context.Context, tx *sql.Tx, query string, args ...any) (found [][2]string, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%w: list variants: %w", ErrUnavailable, err)
	}
	defer rows.Close()
	for rows.Next() {
		var pair [2]string
		if err := rows.Scan(&pair[0], &pair[1]); err != nil {
			return nil, fmt.Errorf("%w: list variants: %w", ErrUnavailable, err)
		}
		found = append(found, pair)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: list variants: %w", ErrUnavailable, err)
	}
	return found, nil
}

// pruneEvicted removes the files of variants that made room, once nobody can be about
// to fetch them.
func (l *Library) pruneEvicted(ctx context.Context, now time.Time) (pruned int, err error) {
	refs, err := l.catalogue.texts(ctx, selectEvicted, now.Add(-evictedKept).UnixMilli())
	if err != nil {
		return 0, err
	}
	for _, ref := range refs {
		removed, err := l.removeOrphan(ctx, ref)
		if err != nil {
			return pruned, err
		}
		if removed {
			pruned++
		}
	}
	return pruned, nil
}

// texts reads one text a row.
func (c *catalogue) texts(ctx context.Context, query string, args ...any) (found []string, err error) {
	rows, err := c.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%w: list: %w", ErrUnavailable, err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("%w: list: %w", ErrUnavailable, err)
		}
		found = append(found, text)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: list: %w", ErrUnavailable, err)
	}
	return found, nil
}
