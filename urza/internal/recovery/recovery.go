// Package recovery brings a save to its end that the Python prototype died in: it leaves
// the row that it was about to write in a file beside its catalogue. A Journal is that
// file's place, with what the row is finished by. Package urza calls it when the one
// service of a library opens it.
package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
	"github.com/esper-lite/weatherlight/urza/internal/metadata"
)

const (
	// fileName is what the prototype leaves beside its catalogue when it dies
	// between an artifact and its row: the row that it was about to write.
	fileName = "urza_wal.json"
	// unusableName is what it is called once it turned out to be of no use.
	unusableName = fileName + ".unusable"

	maxBytes = 16 << 20
)

// unfinished is the content of the journal.
type unfinished struct {
	BlueprintID  string          `json:"blueprint_id"`
	ArtifactPath string          `json:"artifact_path"`
	Descriptor   json.RawMessage `json:"descriptor"`
	Extras       map[string]any  `json:"extras"`
}

// Journal is the file of one unfinished save, which is there or not.
type Journal struct {
	Catalogue *catalogue.Catalogue
	Store     *artifact.Store
	Log       *slog.Logger
}

// Finish brings the save to its end. What cannot be finished is set aside: it would be of
// no more use at the next start. Errors: ErrUnavailable, and those of the file.
func (j Journal) Finish(ctx context.Context) error {
	folder := j.Catalogue.Folder()
	if folder == "" {
		return nil
	}
	path := filepath.Join(folder, fileName)
	text, left, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	id := ""
	if err == nil {
		id, err = j.finish(ctx, text, left)
	}
	switch {
	case err == nil:
		j.Log.Info("unfinished save of the prototype brought to its end", "blueprint_id", id)
		err = os.Remove(path)
	case errors.Is(err, fault.ErrUnavailable):
		return err
	default:
		j.Log.Warn("unfinished save of the prototype is of no use", "path", path, "error", err)
		err = os.Rename(path, filepath.Join(folder, unusableName))
	}
	if errors.Is(err, fs.ErrNotExist) { // another process was first
		return nil
	}
	return err
}

// read returns the journal and when it was written.
func read(path string) (text []byte, left time.Time, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, left, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxBytes {
		return nil, left, fmt.Errorf("%s is no journal of one save", path)
	}
	text, err = regularfile.Read(path, maxBytes)
	return text, info.ModTime(), err
}

// finish commits the row, provided that the artifact is there. What the artifact
// holds is checked when it is first asked for, as for every row.
func (j Journal) finish(ctx context.Context, text []byte, left time.Time) (id string, err error) {
	var save unfinished
	if err := json.Unmarshal(metadata.Finite(string(text)), &save); err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	descriptor, err := metadata.Descriptor(save.Descriptor)
	if err != nil {
		return "", err
	}
	if save.BlueprintID == "" || !catalogue.Storable(save.BlueprintID) {
		return "", errors.New("no blueprint is named")
	}
	ref, err := artifact.Absolute(save.ArtifactPath)
	if err != nil {
		return "", fmt.Errorf("artifact path: %w", err)
	}
	if _, err := j.Store.Identify(ctx, ref); err != nil {
		return "", fmt.Errorf("artifact: %w", err)
	}
	if err := j.checkOlder(ctx, save.BlueprintID, ref, left); err != nil {
		return "", err
	}
	descriptor.BlueprintId = save.BlueprintID
	if descriptor.GetTier() == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		descriptor.Tier = leyline.BlueprintTier_BLUEPRINT_TIER_SAFE
	}
	return save.BlueprintID, j.commit(ctx, descriptor, save)
}

// errNewerRow: the blueprint was saved again after the save that was left behind.
var errNewerRow = errors.New("the blueprint has a newer kernel")

// checkOlder refuses to undo a later save: one whose row names another artifact,
// written after the journal. An artifact that is gone is no kernel.
func (j Journal) checkOlder(ctx context.Context, id, ref string, left time.Time) error {
	found, err := j.Catalogue.Row(ctx, catalogue.Key{ID: id})
	if errors.Is(err, fault.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	stored, err := artifact.Absolute(found.Path)
	if err != nil || stored == ref {
		return nil //nolint:nilerr // a row that names no artifact is no kernel either
	}
	kept, err := j.Store.Identify(ctx, stored)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("artifact of the row: %w", err)
	case kept.Modified > left.UnixNano():
		return errNewerRow
	default:
		return nil
	}
}

func (j Journal) commit(ctx context.Context, descriptor *leyline.BlueprintDescriptor, save unfinished) error {
	text, err := metadata.Encode(descriptor, save.Extras)
	if err != nil {
		return err
	}
	return j.Catalogue.Put(ctx, catalogue.Row{
		ID: save.BlueprintID, Name: descriptor.GetName(), Tier: descriptor.GetTier().String(),
		Path: save.ArtifactPath, Metadata: text,
	})
}
