package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/time/rate"
)

// confirm reads a damaged artifact a second time: bytes that were garbled on their
// way are no damage.
func (l *Library) confirm(ctx context.Context, e *entry, found reading, pace *rate.Limiter) error {
	again, err := l.stores.read(ctx, e.record.ArtifactRef, pace)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errChanged
	case err != nil:
		return err
	case again.sum != found.sum || again.identity != found.identity:
		return errChanged
	default:
		return nil
	}
}

// condemn sets a damaged file aside. It looks at row and file once more inside the
// transaction: a save that happened meanwhile must not lose its good file.
func (l *Library) condemn(ctx context.Context, e *entry, found reading) error {
	movedTo, sound := "", false
	err := l.catalogue.write(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if err := l.unchanged(ctx, tx, e, found.identity); err != nil {
			return err
		}
		if sound, err = l.vouched(ctx, tx, e.row, found.sum); sound || err != nil {
			return err
		}
		if movedTo, err = l.stores.setAside(ctx, e.record.ArtifactRef, found.sum); err != nil {
			l.log.Warn("damaged artifact left in place", "artifact", e.record.ArtifactRef, "error", err)
		}
		return l.catalogue.recordQuarantine(ctx, tx, e.row, e.record.Checksum, found.sum, movedTo)
	})
	if err != nil {
		return err
	}
	l.counts.integrityFailures.Add(1)
	l.log.Error("artifact does not match its checksum", "blueprint_id", e.row.id, "variant", e.row.variant,
		"artifact", e.record.ArtifactRef, "expected", e.record.Checksum, "actual", found.sum, "moved_to", movedTo, "row_is_wrong", sound)
	if movedTo == "" {
		l.learn(e, &verdict{identity: found.identity, sum: found.sum, err: ErrChecksumMismatch})
	}
	return ErrChecksumMismatch
}

// vouched says that an artifact is not damaged although one row promises something
// else of it: its name says what it holds, or another row does. That one row must not
// take the kernel from the others.
func (l *Library) vouched(ctx context.Context, tx *sql.Tx, accuser row, sum string) (bool, error) {
	if promised(accuser.path) == sum {
		return true, nil
	}
	own := accuser.id
	if accuser.variant != "" {
		own = "" // every blueprint's own row is another one
	}
	rows, err := tx.QueryContext(ctx, selectSharing, accuser.path, own)
	if err != nil {
		return false, fmt.Errorf("%w: list rows of an artifact: %w", ErrUnavailable, err)
	}
	defer rows.Close()
	for rows.Next() {
		other, err := scanRow(rows)
		if err != nil {
			return false, err
		}
		if record, err := other.decode(); err == nil && record.Checksum == sum {
			return true, nil
		}
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("%w: list rows of an artifact: %w", ErrUnavailable, err)
	}
	return false, nil
}

// unchanged is errChanged when row or file are no longer what was examined. Only
// its marks may differ: they do not change what the row promises.
func (l *Library) unchanged(ctx context.Context, tx *sql.Tx, e *entry, file identity) error {
	query, args := selectRow, []any{e.row.id}
	if e.row.variant != "" {
		query, args = selectVariant, []any{e.row.id, e.row.variant}
	}
	now, err := scanRow(tx.QueryRowContext(ctx, query, args...))
	if errors.Is(err, ErrNotFound) {
		return errChanged
	}
	if err != nil {
		return err
	}
	now.quarantined, now.approved, now.setAside = e.row.quarantined, e.row.approved, e.row.setAside
	if current, err := l.stores.identify(ctx, e.record.ArtifactRef); now != e.row || err != nil || current != file {
		return errChanged
	}
	return nil
}
