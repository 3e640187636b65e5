package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	selectUnreferenced = `SELECT artifact_path, seen_at FROM urza_unreferenced`
	insertUnreferenced = `INSERT INTO urza_unreferenced (artifact_path, seen_at) VALUES ($1, $2)
		ON CONFLICT (artifact_path) DO UPDATE SET seen_at = excluded.seen_at`
	deleteUnreferenced = `DELETE FROM urza_unreferenced WHERE artifact_path = $1`
	countReferences    = `SELECT (SELECT COUNT(*) FROM blueprints WHERE artifact_path = $1)
		+ (SELECT COUNT(*) FROM urza_variants WHERE artifact_path = $1)`
)

// Prune removes the artifacts that no row has referred to for the library's
// retention, with their signatures, and returns how many. Without a retention it
// removes only those of variants that made room, were replaced or found no room more
// than a day ago: they can be forged again. Since when nothing refers to any other
// artifact is what the calls before saw, so the first call removes none of these. Only
// content-addressed artifacts of the store itself are looked at; the quarantine is not.
func (l *Library) Prune(ctx context.Context) (int, error) {
	now := time.Now().UTC()
	pruned, err := l.pruneEvicted(ctx, now)
	if err == nil && l.cfg.Retention > 0 {
		var removed int
		removed, err = l.prune(ctx, now)
		pruned += removed
	}
	l.counts.pruned.Add(int64(pruned))
	if err != nil {
		return pruned, fmt.Errorf("urza: prune: %w", err)
	}
	return pruned, nil
}

func (l *Library) prune(ctx context.Context, now time.Time) (pruned int, err error) {
	orphans, err := l.orphans(ctx)
	if err != nil {
		return 0, err
	}
	since, err := l.catalogue.unreferencedSince(ctx)
	if err != nil {
		return 0, err
	}
	if err := l.noteOrphans(ctx, orphans, since, now); err != nil {
		return 0, err
	}
	for _, ref := range orphans {
		seen, noted := since[ref]
		if !noted || now.Sub(seen) < l.cfg.Retention {
			continue
		}
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

// orphans are the stored artifacts that no row, readable or not, refers to. The
// store is listed first: what is saved after that is in neither list.
func (l *Library) orphans(ctx context.Context) ([]string, error) {
	var stored []string
	err := l.stores.list(ctx, func(ref string) {
		if !strings.HasSuffix(ref, signatureExtension) {
			stored = append(stored, ref)
		}
	})
	if err != nil {
		return nil, err
	}
	referenced := map[string]bool{}
	note := func(r row) {
		if ref, err := absoluteRef(r.path); err == nil {
			referenced[ref] = true
		}
	}
	if err := l.catalogue.each(ctx, note); err != nil {
		return nil, err
	}
	err = l.catalogue.eachVariant(ctx, note)
	var orphans []string
	for _, ref := range stored {
		if !referenced[ref] {
			orphans = append(orphans, ref)
		}
	}
	return orphans, err
}

// noteOrphans starts the time of new orphans and forgets those that are none any more.
func (l *Library) noteOrphans(ctx context.Context, orphans []string, since map[string]time.Time, now time.Time) error {
	return l.catalogue.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		gone := make(map[string]bool, len(since))
		for ref := range since {
			gone[ref] = true
		}
		for _, ref := range orphans {
			delete(gone, ref)
			if seen, noted := since[ref]; noted && !seen.After(now) { // or the clock was wrong
				continue
			}
			if _, err := tx.ExecContext(ctx, insertUnreferenced, ref, now.Format(time.RFC3339Nano)); err != nil {
				return fmt.Errorf("%w: note orphan: %w", ErrUnavailable, err)
			}
		}
		for ref := range gone {
			if _, err := tx.ExecContext(ctx, deleteUnreferenced, ref); err != nil {
				return fmt.Errorf("%w: forget orphan: %w", ErrUnavailable, err)
			}
		}
		return nil
	})
}

// removeOrphan looks once more, where no save can commit: a save that wrote the
// artifact again meanwhile finds it gone and writes it once more.
func (l *Library) removeOrphan(ctx context.Context, ref string) (removed bool, err error) {
	err = l.catalogue.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		references := 0
		if err := tx.QueryRowContext(ctx, countReferences, ref).Scan(&references); err != nil {
			return fmt.Errorf("%w: count references: %w", ErrUnavailable, err)
		}
		for _, forget := range []string{deleteUnreferenced, deleteEvicted} {
			if _, err := tx.ExecContext(ctx, forget, ref); err != nil {
				return fmt.Errorf("%w: forget orphan: %w", ErrUnavailable, err)
			}
		}
		if references > 0 {
			return nil
		}
		removed = true
		return errors.Join(l.stores.remove(ctx, ref), l.stores.remove(ctx, signatureRef(ref)))
	})
	return removed && err == nil, err
}

// unreferencedSince is when each orphan was first seen to be one.
func (c *catalogue) unreferencedSince(ctx context.Context) (map[string]time.Time, error) {
	rows, err := c.db.QueryContext(ctx, selectUnreferenced)
	if err != nil {
		return nil, fmt.Errorf("%w: list orphans: %w", ErrUnavailable, err)
	}
	defer rows.Close()
	since := map[string]time.Time{}
	for rows.Next() {
		var ref, text string
		if err := rows.Scan(&ref, &text); err != nil {
			return nil, fmt.Errorf("%w: list orphans: %w", ErrUnavailable, err)
		}
		if seen, err := time.Parse(time.RFC3339Nano, text); err == nil {
			since[ref] = seen
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: list orphans: %w", ErrUnavailable, err)
	}
	return since, nil
}
