package urza

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// saveAttempts bounds how often a file is written again because it was moved away
// before its row was committed.
const saveAttempts = 5

// Save stores an artifact and its row, replacing the row there was, and returns
// the update to announce: the caller's, with blueprint id, checksum and the
// artifact_ref (absolute path, or URL) filled in. The file's extension follows update.artifact_ref
// (default .onnx), so that an imported file keeps its kind.
//
// extras are stored beside the descriptor; checksum and guard_digest are the
// library's own and cannot be set through them. NaN and infinities become null.
// When Save returns nil, file and row are on disk. An update whose checksum is not
// the artifact's is refused with ErrChecksumMismatch.
func (l *Library) Save(
	ctx context.Context, descriptor *leyline.BlueprintDescriptor, artifact []byte,
	update *leyline.KernelCatalogUpdate, extras map[string]any,
) (*leyline.KernelCatalogUpdate, error) {
	id := descriptor.GetBlueprintId()
	announced, err := l.announcement(descriptor, artifact, update)
	if err == nil {
		err = l.saveUntilStable(ctx, artifact, announced, func(ctx context.Context, tx *sql.Tx, file identity) error {
			return l.commitRow(ctx, tx, descriptor, announced, extras, file)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("urza: save %q: %w", id, err)
	}
	l.forget(key{id: id})
	return announced, nil
}

// announcement checks what is to be saved and completes the update.
func (l *Library) announcement(
	descriptor *leyline.BlueprintDescriptor, artifact []byte, update *leyline.KernelCatalogUpdate,
) (*leyline.KernelCatalogUpdate, error) {
	id := descriptor.GetBlueprintId()
	switch {
	case l.closed.Load():
		return nil, fmt.Errorf("%w: library closed", ErrUnavailable)
	case id == "":
		return nil, errors.New("descriptor without blueprint id")
	case !storable(id):
		return nil, fmt.Errorf("blueprint id %q is not plain text", id)
	case len(artifact) == 0:
		return nil, errors.New("empty artifact")
	case leyline.BlueprintTier_name[int32(descriptor.GetTier())] == "":
		return nil, fmt.Errorf("unknown tier %d", descriptor.GetTier())
	case update.GetBlueprintId() != "" && update.GetBlueprintId() != id:
		return nil, fmt.Errorf("update is for blueprint %q", update.GetBlueprintId())
	}
	sum := checksum(artifact)
	if promised := update.GetChecksum(); promised != "" && promised != sum {
		return nil, fmt.Errorf("%w: update promises %s, artifact is %s", ErrChecksumMismatch, promised, sum)
	}
	announced := &leyline.KernelCatalogUpdate{}
	if update != nil {
		announced = proto.CloneOf(update)
	}
	announced.BlueprintId = id
	announced.Checksum = sum
	announced.ArtifactRef = l.stores.ref(sum, update.GetArtifactRef())
	return announced, nil
}

// saveUntilStable makes the file durable, then commits the row. The row is only
// committed while the file is in place; nobody moves files aside during a
// transaction, so a committed row has its file.
func (l *Library) saveUntilStable(
	ctx context.Context, artifact []byte, announced *leyline.KernelCatalogUpdate,
	commit func(context.Context, *sql.Tx, identity) error,
) error {
	for range saveAttempts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.putSigned(ctx, announced, artifact); err != nil {
			return err
		}
		err := l.catalogue.writeTogether(ctx, func(ctx context.Context, tx *sql.Tx) error {
			file, err := l.inPlace(ctx, announced.GetArtifactRef())
			if err != nil {
				return err
			}
			return commit(ctx, tx, file)
		})
		if !errors.Is(err, errChanged) {
			return err
		}
	}
	return fmt.Errorf("%w: artifact keeps disappearing", ErrUnavailable)
}

// putSigned makes the artifact durable, and its signature when there is a key.
func (l *Library) putSigned(ctx context.Context, announced *leyline.KernelCatalogUpdate, artifact []byte) error {
	ref := announced.GetArtifactRef()
	if err := l.stores.put(ctx, ref, artifact); err != nil {
		return err
	}
	if l.signer == nil {
		return nil
	}
	if err := l.stores.put(ctx, signatureRef(ref), l.signer.sign(artifact, announced.GetChecksum())); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	return nil
}

// inPlace is errChanged when the artifact was moved away since it was written.
func (l *Library) inPlace(ctx context.Context, ref string) (identity, error) {
	file, err := l.stores.identify(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, fmt.Errorf("%w: %w", errChanged, err)
	}
	if err != nil {
		return identity{}, fmt.Errorf("%w: look at artifact: %w", ErrUnavailable, err)
	}
	return file, nil
}

func (l *Library) commitRow(
	ctx context.Context, tx *sql.Tx, descriptor *leyline.BlueprintDescriptor,
	announced *leyline.KernelCatalogUpdate, extras map[string]any, file identity,
) error {
	path := announced.GetArtifactRef()
	previous, err := l.previousSamples(ctx, tx, descriptor.GetBlueprintId())
	if err != nil {
		return err
	}
	metadata, err := encodeMetadata(descriptor, storedExtras(announced, extras, previous, file))
	if err != nil {
		return err
	}
	id := descriptor.GetBlueprintId()
	tier := descriptor.GetTier().String()
	upsert := tx.StmtContext(ctx, l.catalogue.upsert) //nolint:sqlclosecheck // the transaction closes it
	if _, err := upsert.ExecContext(ctx, id, descriptor.GetName(), tier, path, metadata); err != nil {
		return fmt.Errorf("%w: write row: %w", ErrUnavailable, err)
	}
	heal := tx.StmtContext(ctx, l.catalogue.heal) //nolint:sqlclosecheck // the transaction closes it
	if _, err := heal.ExecContext(ctx, id, path); err != nil {
		return fmt.Errorf("%w: heal quarantine: %w", ErrUnavailable, err)
	}
	return nil
}

// previousSamples are the pre-warm times of the row about to be replaced; a row
// that cannot be read has none: saving again is how such a row is healed.
func (l *Library) previousSamples(ctx context.Context, tx *sql.Tx, id string) ([]float64, error) {
	var metadata string
	previous := tx.StmtContext(ctx, l.catalogue.previous) //nolint:sqlclosecheck // the transaction closes it
	switch err := previous.QueryRowContext(ctx, id).Scan(&metadata); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: read row: %w", ErrUnavailable, err)
	}
	// The graph of a kernel beside them may be large, and is not looked at.
	var kept struct {
		Extras struct {
			Samples []any `json:"prewarm_samples"`
		} `json:"_urza"`
	}
	if err := json.Unmarshal(finiteJSON(metadata), &kept); err != nil {
		return nil, nil //nolint:nilerr // see above
	}
	return samples(kept.Extras.Samples), nil
}

// storedExtras are the caller's extras with the library's own on top or below:
// what the library measured itself may be refined by the caller, what identifies
// the artifact may not.
func storedExtras(
	announced *leyline.KernelCatalogUpdate, extras map[string]any, previous []float64, file identity,
) map[string]any {
	stored := map[string]any{
		"artifact_mtime": float64(file.mtime) / 1e9,
		"compile_ms":     float64(announced.GetCompileMs()),
		"prewarm_ms":     float64(announced.GetPrewarmMs()),
	}
	maps.Copy(stored, extras)
	fresh := samples([]float64{float64(announced.GetPrewarmMs())})
	if announced.GetPrewarmMs() == 0 { // not measured
		fresh = nil
	}
	if given, found := extras["prewarm_samples"]; found {
		fresh = samples(given)
	}
	stored["prewarm_samples"] = samples(append(append([]float64{}, previous...), fresh...))
	stored["checksum"] = announced.GetChecksum()
	stored["guard_digest"] = nil
	if digest := announced.GetGuardDigest(); digest != "" {
		stored["guard_digest"] = digest
	}
	return stored
}
