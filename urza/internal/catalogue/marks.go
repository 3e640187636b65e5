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
	selectSharing = selectRows + ` WHERE b.artifact_path = $1 AND b.blueprint_id <> $2`
	// Every blueprint that shares the file shares its fate.
	insertQuarantine = `INSERT INTO urza_quarantine
		(blueprint_id, artifact_path, expected_checksum, actual_checksum, moved_to, detected_at)
		SELECT blueprint_id, artifact_path, $2, $3, $4, $5 FROM blueprints WHERE artifact_path = $1
		ON CONFLICT (blueprint_id) DO UPDATE SET artifact_path = excluded.artifact_path,
		expected_checksum = excluded.expected_checksum, actual_checksum = excluded.actual_checksum,
		moved_to = excluded.moved_to, detected_at = excluded.detected_at`
	quarantineVariants = `UPDATE urza_variants SET quarantined_at = $2 WHERE artifact_path = $1`
	deleteQuarantine   = `DELETE FROM urza_quarantine WHERE blueprint_id = $1 OR artifact_path = $2`
	healVariants       = `UPDATE urza_variants SET quarantined_at = '' WHERE artifact_path = $1`

	upsertApproval = `INSERT INTO urza_reviews (blueprint_id, approved_checksum, approved_at, set_aside_at, reason)
		VALUES ($1, $2, $3, '', '') ON CONFLICT (blueprint_id) DO UPDATE SET
		approved_checksum = excluded.approved_checksum, approved_at = excluded.approved_at`
	upsertSetAside = `INSERT INTO urza_reviews (blueprint_id, approved_checksum, approved_at, set_aside_at, reason)
		VALUES ($1, '', '', $2, $3) ON CONFLICT (blueprint_id) DO UPDATE SET
		set_aside_at = excluded.set_aside_at, reason = excluded.reason`
	countKernels = `SELECT (SELECT COUNT(*) FROM blueprints WHERE blueprint_id = $1)
		+ (SELECT COUNT(*) FROM urza_variants WHERE blueprint_id = $1)`
)

// Damage is what is kept of an artifact that is not what its row promises.
type Damage struct {
	Expected, Actual string // checksums
	MovedTo          string // the quarantined artifact; empty when it stayed in place
}

// Quarantine marks the rows whose artifact is damaged. ErrChanged when the row is no
// longer what was examined; its marks may differ. judge decides in the transaction, so
// that no save commits meanwhile: it gets the blueprints' own rows that share the artifact
// with r, and nil means that no row is to be marked.
func (c *Catalogue) Quarantine(ctx context.Context, r Row, judge func(ctx context.Context, sharing []Row) (*Damage, error)) error {
	return c.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		sharing, err := sharingRows(ctx, tx, r)
		if err != nil {
			return err
		}
		damage, err := judge(ctx, sharing)
		if err != nil || damage == nil {
			return err
		}
		now := timestamp()
		err = execute(ctx, tx, "note damage", insertQuarantine, r.Path, damage.Expected, damage.Actual, damage.MovedTo, now)
		if err == nil {
			err = execute(ctx, tx, "note damage", quarantineVariants, r.Path, now)
		}
		return err
	})
}

// sharingRows are the other rows that refer to the artifact of a row, which must still be
// as it was examined.
func sharingRows(ctx context.Context, tx *sql.Tx, r Row) (sharing []Row, err error) {
	query, args, own := selectRow, []any{r.ID}, r.ID
	if r.Variant != "" {
		query, args, own = selectVariant, []any{r.ID, r.Variant}, "" // every blueprint's own row is another one
	}
	now, err := scanRow(tx.QueryRowContext(ctx, query, args...))
	if errors.Is(err, fault.ErrNotFound) || err == nil && !now.promisesAs(r) {
		return nil, fault.ErrChanged
	}
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, selectSharing, r.Path, own) //nolint:sqlclosecheck // visitRows does
	err = visitRows(rows, err, func(from scanner) error {
		other, err := scanRow(from)
		sharing = append(sharing, other)
		return err
	})
	return sharing, err
}

// ClearQuarantine forgets that the artifact of a row was damaged.
func (c *Catalogue) ClearQuarantine(ctx context.Context, r Row) error {
	if r.Variant != "" {
		return c.writeOne(ctx, "heal quarantine", healVariants, r.Path)
	}
	return c.writeOne(ctx, "heal quarantine", deleteQuarantine, r.ID, r.Path)
}

// Approve notes that an operator approved the artifact with that checksum. Errors of this
// and the next two: ErrNotFound without a kernel of the blueprint, ErrUnavailable.
func (c *Catalogue) Approve(ctx context.Context, id, sum string) error {
	return c.review(ctx, id, upsertApproval, sum, timestamp())
}

// SetAside notes that an operator took a blueprint out of use, and why.
func (c *Catalogue) SetAside(ctx context.Context, id, reason string) error {
	return c.review(ctx, id, upsertSetAside, timestamp(), reason)
}

// Release takes SetAside back.
func (c *Catalogue) Release(ctx context.Context, id string) error {
	return c.review(ctx, id, upsertSetAside, "", "")
}

func (c *Catalogue) review(ctx context.Context, id, statement string, values ...any) error {
	if !Storable(id) {
		return fault.ErrNotFound
	}
	return c.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		kernels := 0
		if err := tx.QueryRowContext(ctx, countKernels, id).Scan(&kernels); err != nil {
			return fmt.Errorf("%w: count rows: %w", fault.ErrUnavailable, err)
		}
		if kernels == 0 {
			return fault.ErrNotFound
		}
		return execute(ctx, tx, "write review", statement, append([]any{id}, values...)...)
	})
}

func timestamp() string { return time.Now().UTC().Format(time.RFC3339Nano) }
