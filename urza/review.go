package urza

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	upsertApproval = `INSERT INTO urza_reviews (blueprint_id, approved_checksum, approved_at, set_aside_at, reason)
		VALUES ($1, $2, $3, '', '') ON CONFLICT (blueprint_id) DO UPDATE SET
		approved_checksum = excluded.approved_checksum, approved_at = excluded.approved_at`
	upsertSetAside = `INSERT INTO urza_reviews (blueprint_id, approved_checksum, approved_at, set_aside_at, reason)
		VALUES ($1, '', '', $2, $3) ON CONFLICT (blueprint_id) DO UPDATE SET
		set_aside_at = excluded.set_aside_at, reason = excluded.reason`
	countRows = `SELECT (SELECT COUNT(*) FROM blueprints WHERE blueprint_id = $1)
		+ (SELECT COUNT(*) FROM urza_variants WHERE blueprint_id = $1)`
)

// Approve records that an operator approved the artifact that a blueprint has now,
// after reading it: a later save of another artifact is not approved by it.
// Errors: those of Verify.
func (l *Library) Approve(ctx context.Context, blueprintID string) error {
	_, sum, err := l.settle(ctx, key{id: blueprintID})
	if err == nil {
		err = l.review(ctx, blueprintID, upsertApproval, sum, timestamp())
	}
	if err != nil {
		return fmt.Errorf("urza: approve %q: %w", blueprintID, err)
	}
	return nil
}

// SetAside takes a blueprint out of use, for a reason: requests for it are answered
// as if it were not there, until Release. Its row and artifact stay, and saves do
// not bring it back. What was announced before can still be opened.
// Errors: ErrNotFound, ErrUnavailable.
func (l *Library) SetAside(ctx context.Context, blueprintID, reason string) error {
	if err := l.review(ctx, blueprintID, upsertSetAside, timestamp(), reason); err != nil {
		return fmt.Errorf("urza: set aside %q: %w", blueprintID, err)
	}
	return nil
}

// Release takes SetAside back. Errors: ErrNotFound, ErrUnavailable.
func (l *Library) Release(ctx context.Context, blueprintID string) error {
	if err := l.review(ctx, blueprintID, upsertSetAside, "", ""); err != nil {
		return fmt.Errorf("urza: release %q: %w", blueprintID, err)
	}
	return nil
}

func timestamp() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// catalogued is ErrNotFound for a blueprint of which there is neither a kernel of its own
// nor a variant.
func catalogued(ctx context.Context, tx *sql.Tx, id string) error {
	rows := 0
	if err := tx.QueryRowContext(ctx, countRows, id).Scan(&rows); err != nil {
		return fmt.Errorf("%w: count rows: %w", ErrUnavailable, err)
	}
	if rows == 0 {
		return ErrNotFound
	}
	return nil
}

// review writes one decision about a blueprint that is in the catalogue.
func (l *Library) review(ctx context.Context, id, statement string, values ...any) error {
	if l.closed.Load() {
		return fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	if !storable(id) {
		return ErrNotFound
	}
	err := l.catalogue.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := catalogued(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, statement, append([]any{id}, values...)...); err != nil {
			return fmt.Errorf("%w: write review: %w", ErrUnavailable, err)
		}
		return nil
	})
	l.forget(key{id: id})
	return err
}
