package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	// Those that were used last stay, as many as fit beside the new one.
	selectIdle = `SELECT variant FROM urza_variants
		WHERE blueprint_id = $1 AND variant <> $2 AND used_at < $3 ORDER BY used_at, variant LIMIT $4`
	deleteVariant = `DELETE FROM urza_variants WHERE blueprint_id = $1 AND variant = $2`
	// A variant as it is, unless it keeps its file.
	insertEvicted = `INSERT INTO urza_evicted
		(artifact_path, evicted_at, blueprint_id, variant, name, tier, metadata_json, checksum)
		SELECT artifact_path, $4, blueprint_id, variant, name, tier, metadata_json, checksum FROM urza_variants
		WHERE blueprint_id = $1 AND variant = $2 AND artifact_path <> $3
		ON CONFLICT (artifact_path) DO UPDATE SET evicted_at = excluded.evicted_at,
		blueprint_id = excluded.blueprint_id, variant = excluded.variant, name = excluded.name,
		tier = excluded.tier, metadata_json = excluded.metadata_json, checksum = excluded.checksum`
	// A file that no variant ever referred to.
	insertRefused = `INSERT INTO urza_evicted (artifact_path, evicted_at) VALUES ($1, $2)
		ON CONFLICT (artifact_path) DO UPDATE SET evicted_at = excluded.evicted_at`
	selectEvicted   = `SELECT artifact_path FROM urza_evicted WHERE evicted_at < $1`
	deleteEvicted   = `DELETE FROM urza_evicted WHERE artifact_path = $1`
	selectByEvicted = `SELECT e.blueprint_id, e.name, e.tier, e.artifact_path, e.metadata_json,
		FALSE, '', COALESCE(r.set_aside_at, ''), e.variant
		FROM urza_evicted e LEFT JOIN urza_reviews r ON r.blueprint_id = e.blueprint_id
		WHERE e.checksum = $1 ORDER BY e.evicted_at DESC LIMIT 1`
)

// evictedKept is how long the file of a variant stays that made room or was replaced: a
// trainer may have been told of it.
const evictedKept = 24 * time.Hour

// querier is the database, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// leaving are the variants that make room for another one of their blueprint, or
// ErrTooManyVariants. One that is there already takes no room.
func (l *Library) leaving(ctx context.Context, from querier, k key, now time.Time) ([]string, error) {
	others := 0
	if err := from.QueryRowContext(ctx, countVariants+` AND variant <> $2`, k.id, k.variant).Scan(&others); err != nil {
		return nil, fmt.Errorf("%w: count variants: %w", ErrUnavailable, err)
	}
	excess := others + 1 - l.cfg.MaxVariants
	if excess <= 0 {
		return nil, nil
	}
	// A use may be noted that much later than it was.
	idle, err := texts(ctx, from, selectIdle, k.id, k.variant, now.Add(-variantInUse-touchInterval).UnixMilli(), excess)
	if err != nil {
		return nil, err
	}
	if len(idle) < excess {
		return nil, fmt.Errorf("%w: %d", ErrTooManyVariants, others)
	}
	return idle, nil
}

// roomFor is ErrTooManyVariants when a variant would find no room now: what cannot be
// kept need not be made.
func (l *Library) roomFor(ctx context.Context, k key) error {
	bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, err := l.leaving(bounded, l.catalogue.db, k, time.Now())
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("%w: no answer within %s", ErrUnavailable, lookupTimeout) // as in row
	}
	return err
}

// makeRoom removes what must go so that a variant fits beside the others of its
// blueprint, and lets go of the file that it had.
func (l *Library) makeRoom(ctx context.Context, tx *sql.Tx, k key, ref string, now time.Time) error {
	idle, err := l.leaving(ctx, tx, k, now)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, insertEvicted, k.id, k.variant, ref, now.UnixMilli())
	for _, variant := range idle {
		if err == nil {
			_, err = tx.ExecContext(ctx, insertEvicted, k.id, variant, "", now.UnixMilli())
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, deleteVariant, k.id, variant)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: evict variant: %w", ErrUnavailable, err)
	}
	return nil
}

// dropRefused lets go of the file of a variant that found no room.
func (l *Library) dropRefused(ctx context.Context, ref string) error {
	return l.catalogue.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, insertRefused, ref, time.Now().UnixMilli()); err != nil {
			return fmt.Errorf("%w: note a file: %w", ErrUnavailable, err)
		}
		return nil
	})
}

// useEvicted calls use with a kernel that made room or was replaced, while its file is
// there. Nothing is remembered of what is about to go: it is read each time.
func (l *Library) useEvicted(ctx context.Context, sum string, use func(*entry) error) error {
	e, err := l.evicted(ctx, sum)
	if err != nil {
		return err
	}
	if err := l.withheldNow(ctx, e); err != nil {
		return err
	}
	found, err := l.readArtifact(ctx, e, nil)
	switch {
	case errors.Is(err, errChanged):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case err != nil:
		return err
	case found.sum != sum:
		return ErrChecksumMismatch
	}
	if err := l.checkSignature(ctx, e, found); err != nil {
		return err
	}
	return use(e)
}

// evicted is the kernel of that checksum that was evicted last.
func (l *Library) evicted(ctx context.Context, sum string) (*entry, error) {
	var found row
	err := l.breaker.guard(func() (err error) {
		bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		found, err = scanRow(l.catalogue.db.QueryRowContext(bounded, selectByEvicted, sum))
		return err
	})
	if err != nil {
		return nil, err
	}
	record, err := found.decode()
	if err != nil {
		return nil, err
	}
	e := newEntry(found, record)
	e.withheld = l.Withheld(record)
	e.touched.Store(max(l.clock.now(), 1)) // it has no place to keep by being used
	return e, nil
}

// pruneEvicted removes the files of variants that made room, were replaced or found
// none, once nobody can be about to fetch them.
func (l *Library) pruneEvicted(ctx context.Context, now time.Time) (pruned int, err error) {
	refs, err := texts(ctx, l.catalogue.db, selectEvicted, now.Add(-evictedKept).UnixMilli())
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
func texts(ctx context.Context, from querier, query string, args ...any) (found []string, err error) {
	rows, err := from.QueryContext(ctx, query, args...)
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
