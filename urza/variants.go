package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	selectVariants = `SELECT v.blueprint_id, v.name, v.tier, v.artifact_path, v.metadata_json,
		v.quarantined_at <> '', '', COALESCE(r.set_aside_at, ''), v.variant
		FROM urza_variants v LEFT JOIN urza_reviews r ON r.blueprint_id = v.blueprint_id`
	selectVariant = selectVariants + ` WHERE v.blueprint_id = $1 AND v.variant = $2`
	upsertVariant = `INSERT INTO urza_variants (blueprint_id, variant, name, tier, artifact_path, metadata_json,
		checksum, quarantined_at, used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8)
		ON CONFLICT (blueprint_id, variant) DO UPDATE SET name = excluded.name, tier = excluded.tier,
		artifact_path = excluded.artifact_path, metadata_json = excluded.metadata_json,
		checksum = excluded.checksum, quarantined_at = '', used_at = excluded.used_at`
	quarantineVariants = `UPDATE urza_variants SET quarantined_at = $2 WHERE artifact_path = $1`
	healVariants       = `UPDATE urza_variants SET quarantined_at = '' WHERE artifact_path = $1`
	useVariant         = `UPDATE urza_variants SET used_at = $3 WHERE blueprint_id = $1 AND variant = $2`
	countVariants      = `SELECT COUNT(*) FROM urza_variants WHERE blueprint_id = $1`
)

const (
	// variantInUse is how long a variant that was used keeps its place whatever comes.
	variantInUse = time.Hour
	// touchInterval is how exactly the last use of a variant is known.
	touchInterval = 10 * time.Minute
)

// Forged is a kernel that was just made for a variant.
type Forged struct {
	Descriptor *leyline.BlueprintDescriptor
	Artifact   []byte
	Update     *leyline.KernelCatalogUpdate // what Save takes, without the reference
	Extras     map[string]any               // stored beside the descriptor
}

// SaveVariant stores a kernel of a blueprint for a slot or for parameters of its own,
// as Save stores the blueprint's own kernel, which it leaves alone. Beyond
// Config.MaxVariants the variants of the blueprint that were not used for the longest
// time make room. Errors: those of Save, and ErrTooManyVariants when all of them were
// used within the last hour.
func (l *Library) SaveVariant(
	ctx context.Context, variant trainer.Variant, forged Forged,
) (*leyline.KernelCatalogUpdate, error) {
	k := key{forged.Descriptor.GetBlueprintId(), variant.Key()}
	announced, err := l.announcement(forged.Descriptor, forged.Artifact, forged.Update)
	if err == nil && (k.variant == "" || !storable(k.variant)) {
		err = fmt.Errorf("variant %q names no slot and no parameters", k.variant)
	}
	if err == nil {
		err = l.saveUntilStable(ctx, forged.Artifact, announced, func(ctx context.Context, tx *sql.Tx, file identity) error {
			return l.commitVariant(ctx, tx, k, forged, announced, file)
		})
	}
	if errors.Is(err, ErrTooManyVariants) {
		err = errors.Join(err, l.dropRefused(ctx, announced.GetArtifactRef()))
	}
	if err != nil {
		return nil, fmt.Errorf("urza: save variant %s: %w", k, err)
	}
	l.forget(k)
	return announced, nil
}

func (l *Library) commitVariant(
	ctx context.Context, tx *sql.Tx, k key, forged Forged, announced *leyline.KernelCatalogUpdate, file identity,
) error {
	now := time.Now()
	if err := l.makeRoom(ctx, tx, k, announced.GetArtifactRef(), now); err != nil {
		return err
	}
	metadata, err := encodeMetadata(forged.Descriptor, storedExtras(announced, forged.Extras, nil, file))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, upsertVariant, k.id, k.variant, forged.Descriptor.GetName(),
		forged.Descriptor.GetTier().String(), announced.GetArtifactRef(), metadata,
		announced.GetChecksum(), now.UnixMilli())
	if err != nil {
		return fmt.Errorf("%w: write variant: %w", ErrUnavailable, err)
	}
	return nil
}

// Variants reads the records of all variants, ordered by blueprint id and key. Rows
// that cannot be read are treated as by List.
func (l *Library) Variants(ctx context.Context) ([]*Record, error) {
	var records []*Record
	if l.closed.Load() {
		return nil, fmt.Errorf("urza: list variants: %w: library closed", ErrUnavailable)
	}
	good := func(_ row, record *Record) { records = append(records, record) }
	if err := l.catalogue.eachVariant(ctx, decoded(good, l.reportRow)); err != nil {
		return nil, fmt.Errorf("urza: list variants: %w", err)
	}
	return records, l.sizeAll(ctx, records)
}

// withheldNow is why the kernel of an entry is not for use, or nil. A variant is
// withheld with its blueprint: an operator's approval of the blueprint's own kernel
// covers the variants when our forge made that kernel too, for then it is the same
// network in another shape.
func (l *Library) withheldNow(ctx context.Context, e *entry) error {
	if e.row.variant == "" {
		return e.withheld
	}
	own, err := l.entry(ctx, key{id: e.row.id})
	if errors.Is(err, ErrNotFound) {
		return e.withheld
	}
	if err != nil {
		return err
	}
	return l.withheldVariant(own, e.record)
}

func (l *Library) withheldVariant(own *entry, record *Record) error {
	judged := *record
	_, forged := own.record.Extras["build_digest"].(string)
	judged.Approved = own.record.Approved && forged
	judged.SetAside = record.SetAside || own.record.SetAside
	return l.Withheld(&judged)
}

// touch notes that a variant was used, now and then; errChanged when it made room for
// another meanwhile. A database that does not answer takes nothing from an answer.
func (l *Library) touch(ctx context.Context, e *entry) error {
	if e.row.variant == "" {
		return nil
	}
	now, last := l.clock.now(), e.touched.Load()
	if last != 0 && now-last < int64(touchInterval) || !e.touched.CompareAndSwap(last, max(now, 1)) {
		return nil
	}
	there := int64(1)
	err := l.catalogue.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, useVariant, e.row.id, e.row.variant, time.Now().UnixMilli())
		if err == nil {
			there, err = result.RowsAffected()
		}
		return err
	})
	if err != nil {
		e.touched.Store(last)
		l.log.Debug("use of a variant not noted", "blueprint_id", e.row.id, "variant", e.row.variant, "error", err)
		return ctx.Err()
	}
	if there == 0 {
		l.forget(e.row.key())
		return errChanged
	}
	return nil
}
