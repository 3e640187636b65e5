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
	selectMetadata = `SELECT metadata_json FROM blueprints WHERE blueprint_id = $1`
	updateMetadata = `UPDATE blueprints SET metadata_json = $1 WHERE blueprint_id = $2`
	upsertRow      = `INSERT INTO blueprints (blueprint_id, name, tier, artifact_path, metadata_json)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (blueprint_id) DO UPDATE SET name = excluded.name, tier = excluded.tier,
		artifact_path = excluded.artifact_path, metadata_json = excluded.metadata_json`
)

// Save writes the row of a blueprint's own kernel. build makes it, in the transaction, of
// the metadata that is replaced, "" when there is none; its error undoes the save. It may
// be called again, and the transaction may be shared with other saves.
func (c *Catalogue) Save(ctx context.Context, id string, build func(ctx context.Context, previous string) (Row, error)) error {
	return c.writeInGroup(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var metadata sql.NullString
		previous := tx.StmtContext(ctx, c.previous) //nolint:sqlclosecheck // the transaction closes it
		if err := previous.QueryRowContext(ctx, id).Scan(&metadata); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: read row: %w", fault.ErrUnavailable, err)
		}
		r, err := build(ctx, metadata.String)
		if err != nil {
			return err
		}
		upsert := tx.StmtContext(ctx, c.upsert) //nolint:sqlclosecheck // the transaction closes it
		if _, err := upsert.ExecContext(ctx, id, r.Name, r.Tier, r.Path, r.Metadata); err != nil {
			return fmt.Errorf("%w: write row: %w", fault.ErrUnavailable, err)
		}
		heal := tx.StmtContext(ctx, c.heal) //nolint:sqlclosecheck // the transaction closes it
		if _, err := heal.ExecContext(ctx, id, r.Path); err != nil {
			return fmt.Errorf("%w: heal quarantine: %w", fault.ErrUnavailable, err)
		}
		return nil
	})
}

// Put writes the row of a blueprint's own kernel and heals nothing.
func (c *Catalogue) Put(ctx context.Context, r Row) error {
	return c.writeOne(ctx, "write row", upsertRow, r.ID, r.Name, r.Tier, r.Path, r.Metadata)
}

// Amend replaces the metadata of a blueprint by what change makes of its row, and says
// whether that was anything: "" leaves it. Whoever else writes the row waits. Errors:
// ErrNotFound, ErrUnavailable and those of change.
func (c *Catalogue) Amend(ctx context.Context, id string, change func(Row) (string, error)) (changed bool, err error) {
	err = c.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		old, err := scanRow(tx.QueryRowContext(ctx, selectRow, id))
		if err != nil {
			return err
		}
		metadata, err := change(old)
		if err != nil || metadata == "" {
			return err
		}
		changed = true
		return execute(ctx, tx, "write row", updateMetadata, metadata, id)
	})
	return changed && err == nil, err
}

const (
	upsertVariant = `INSERT INTO urza_variants (blueprint_id, variant, name, tier, artifact_path, metadata_json,
		checksum, quarantined_at, used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8)
		ON CONFLICT (blueprint_id, variant) DO UPDATE SET name = excluded.name, tier = excluded.tier,
		artifact_path = excluded.artifact_path, metadata_json = excluded.metadata_json,
		checksum = excluded.checksum, quarantined_at = '', used_at = excluded.used_at`
	useVariant    = `UPDATE urza_variants SET used_at = $3 WHERE blueprint_id = $1 AND variant = $2`
	countOthers   = `SELECT COUNT(*) FROM urza_variants WHERE blueprint_id = $1 AND variant <> $2`
	deleteVariant = `DELETE FROM urza_variants WHERE blueprint_id = $1 AND variant = $2`
	// Those that were used last stay, as many as fit beside the new one.
	selectIdle = `SELECT variant FROM urza_variants
		WHERE blueprint_id = $1 AND variant <> $2 AND used_at < $3 ORDER BY used_at, variant LIMIT $4`
	// A variant as it is, unless it keeps its file.
	insertEvicted = `INSERT INTO urza_evicted
		(artifact_path, evicted_at, blueprint_id, variant, name, tier, metadata_json, checksum)
		SELECT artifact_path, $4, blueprint_id, variant, name, tier, metadata_json, checksum FROM urza_variants
		WHERE blueprint_id = $1 AND variant = $2 AND artifact_path <> $3
		ON CONFLICT (artifact_path) DO UPDATE SET evicted_at = excluded.evicted_at,
		blueprint_id = excluded.blueprint_id, variant = excluded.variant, name = excluded.name,
		tier = excluded.tier, metadata_json = excluded.metadata_json, checksum = excluded.checksum`
)

const (
	// UseInterval is how exactly the last use of a variant is to be known.
	UseInterval = 10 * time.Minute
	// variantInUse is how long a variant that was used keeps its place whatever comes.
	variantInUse = time.Hour
)

// SaveVariant writes the row of a variant, as Save does that of a blueprint's own kernel.
// Variants that were not used for the longest time make room for it. ErrTooManyVariants
// when that is not enough.
func (c *Catalogue) SaveVariant(ctx context.Context, k Key, sum string, build func(context.Context) (Row, error)) error {
	return c.writeInGroup(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := build(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if err := c.makeRoom(ctx, tx, k, r.Path, now); err != nil {
			return err
		}
		return execute(ctx, tx, "write variant", upsertVariant, k.ID, k.Variant, r.Name, r.Tier, r.Path, r.Metadata, sum, now.UnixMilli())
	})
}

// Room is ErrTooManyVariants when a variant would find no room now: what cannot be
// kept need not be made.
func (c *Catalogue) Room(ctx context.Context, k Key) error {
	_, err := withDeadline(ctx, func(ctx context.Context) ([]string, error) { return c.leaving(ctx, c.db, k, time.Now()) })
	return err
}

// Used notes that a variant was used now; false when there is none any more.
func (c *Catalogue) Used(ctx context.Context, k Key) (there bool, err error) {
	err = c.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, useVariant, k.ID, k.Variant, time.Now().UnixMilli())
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		there = rows > 0
		return err
	})
	return there, err
}

// querier is the database, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// leaving are the variants that make room for another one of their blueprint, or
// ErrTooManyVariants. One that is there already takes no room.
func (c *Catalogue) leaving(ctx context.Context, from querier, k Key, now time.Time) ([]string, error) {
	others := 0
	if err := from.QueryRowContext(ctx, countOthers, k.ID, k.Variant).Scan(&others); err != nil {
		return nil, fmt.Errorf("%w: count variants: %w", fault.ErrUnavailable, err)
	}
	excess := others + 1 - c.maxVariants
	if excess <= 0 {
		return nil, nil
	}
	// A use may be noted that much later than it was.
	idle, err := texts(from.QueryContext(ctx, selectIdle, k.ID, k.Variant, now.Add(-variantInUse-UseInterval).UnixMilli(), excess))
	if err != nil {
		return nil, err
	}
	if len(idle) < excess {
		return nil, fmt.Errorf("%w: %d", fault.ErrTooManyVariants, others)
	}
	return idle, nil
}

// makeRoom removes what must go so that a variant fits beside the others of its
// blueprint, and lets go of the file that it had.
func (c *Catalogue) makeRoom(ctx context.Context, tx *sql.Tx, k Key, ref string, now time.Time) error {
	idle, err := c.leaving(ctx, tx, k, now)
	if err != nil {
		return err
	}
	err = execute(ctx, tx, "evict variant", insertEvicted, k.ID, k.Variant, ref, now.UnixMilli())
	for _, variant := range idle {
		if err == nil {
			err = execute(ctx, tx, "evict variant", insertEvicted, k.ID, variant, "", now.UnixMilli())
		}
		if err == nil {
			err = execute(ctx, tx, "evict variant", deleteVariant, k.ID, variant)
		}
	}
	return err
}
