package urza

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	// leftoverFile is what the prototype leaves beside its catalogue when it dies
	// between an artifact and its row: the row that it was about to write.
	leftoverFile = "urza_wal.json"
	// unusableLeftover is what it is called once it turned out to be of no use.
	unusableLeftover = leftoverFile + ".unusable"

	maxLeftoverBytes = 16 << 20
)

// unfinished is the content of a leftover.
type unfinished struct {
	BlueprintID  string          `json:"blueprint_id"`
	ArtifactPath string          `json:"artifact_path"`
	Descriptor   json.RawMessage `json:"descriptor"`
	Extras       map[string]any  `json:"extras"`
}

// finishLeftover brings a save of the prototype to its end. What cannot be finished
// is set aside: it would be of no more use at the next start.
func (l *Library) finishLeftover(ctx context.Context) error {
	folder := l.catalogue.db.folder
	if folder == "" {
		return nil
	}
	path := filepath.Join(folder, leftoverFile)
	text, left, err := readLeftover(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	id := ""
	if err == nil {
		id, err = l.finish(ctx, text, left)
	}
	switch {
	case err == nil:
		l.log.Info("unfinished save of the prototype brought to its end", "blueprint_id", id)
		err = os.Remove(path)
	case errors.Is(err, ErrUnavailable):
		return err
	default:
		l.log.Warn("unfinished save of the prototype is of no use", "path", path, "error", err)
		err = os.Rename(path, filepath.Join(folder, unusableLeftover))
	}
	if errors.Is(err, fs.ErrNotExist) { // another process was first
		return nil
	}
	return err
}

// readLeftover returns the leftover and when it was written.
func readLeftover(path string) (text []byte, left time.Time, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, left, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLeftoverBytes {
		return nil, left, fmt.Errorf("%s is no journal of one save", path)
	}
	text, err = os.ReadFile(path)
	return text, info.ModTime(), err
}

// finish commits the row, provided that the artifact is there. What the artifact
// holds is checked when it is first asked for, as for every row.
func (l *Library) finish(ctx context.Context, text []byte, left time.Time) (id string, err error) {
	var save unfinished
	if err := json.Unmarshal(finiteJSON(string(text)), &save); err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	descriptor := &leyline.BlueprintDescriptor{}
	if len(save.Descriptor) > 0 {
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(save.Descriptor, descriptor); err != nil {
			return "", fmt.Errorf("descriptor: %w", err)
		}
	}
	if save.BlueprintID == "" || !storable(save.BlueprintID) {
		return "", errors.New("no blueprint is named")
	}
	ref, err := absoluteRef(save.ArtifactPath)
	if err != nil {
		return "", fmt.Errorf("artifact path: %w", err)
	}
	if _, err := l.stores.identify(ctx, ref); err != nil {
		return "", fmt.Errorf("artifact: %w", err)
	}
	if err := l.checkOlder(ctx, save.BlueprintID, ref, left); err != nil {
		return "", err
	}
	descriptor.BlueprintId = save.BlueprintID
	if descriptor.GetTier() == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		descriptor.Tier = leyline.BlueprintTier_BLUEPRINT_TIER_SAFE
	}
	return save.BlueprintID, l.commitLeftover(ctx, descriptor, save)
}

// errNewerRow: the blueprint was saved again after the save that was left behind.
var errNewerRow = errors.New("the blueprint has a newer kernel")

// checkOlder refuses to undo a later save: one whose row names another artifact,
// written after the leftover. An artifact that is gone is no kernel.
func (l *Library) checkOlder(ctx context.Context, id, ref string, left time.Time) error {
	found, err := l.catalogue.row(ctx, key{id: id})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	stored, err := absoluteRef(found.path)
	if err != nil || stored == ref {
		return nil //nolint:nilerr // a row that names no artifact is no kernel either
	}
	artifact, err := l.stores.identify(ctx, stored)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("artifact of the row: %w", err)
	case artifact.mtime > left.UnixNano():
		return errNewerRow
	default:
		return nil
	}
}

func (l *Library) commitLeftover(ctx context.Context, descriptor *leyline.BlueprintDescriptor, save unfinished) error {
	metadata, err := encodeMetadata(descriptor, save.Extras)
	if err != nil {
		return err
	}
	return l.catalogue.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, upsertRow, save.BlueprintID, descriptor.GetName(),
			descriptor.GetTier().String(), save.ArtifactPath, metadata)
		if err != nil {
			return fmt.Errorf("%w: write row: %w", ErrUnavailable, err)
		}
		return nil
	})
}
