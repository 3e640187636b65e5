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
	text, err := readLeftover(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	id := ""
	if err == nil {
		id, err = l.finish(ctx, text)
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

func readLeftover(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLeftoverBytes {
		return nil, fmt.Errorf("%s is no journal of one save", path)
	}
	return os.ReadFile(path)
}

// finish commits the row, provided that the artifact is there. What the artifact
// holds is checked when it is first asked for, as for every row.
func (l *Library) finish(ctx context.Context, text []byte) (id string, err error) {
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
	descriptor.BlueprintId = save.BlueprintID
	if descriptor.GetTier() == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		descriptor.Tier = leyline.BlueprintTier_BLUEPRINT_TIER_SAFE
	}
	return save.BlueprintID, l.commitLeftover(ctx, descriptor, save)
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
