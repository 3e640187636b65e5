package assembly

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
)

// Compiler compiles for the library's own slot.
func Compiler(set *settings.Settings) (*tezzeret.Compiler, error) {
	slot, err := tezzeret.NewSlot(set.Tezzeret.SlotSizes()...)
	if err != nil {
		return nil, fmt.Errorf("slot of the host layer: %w", err)
	}
	return tezzeret.NewCompiler(tezzeret.Config{
		Slot:       slot,
		Approved:   set.Karn.Approved,
		Quarantine: set.Karn.QuarantineGrant,
	}), nil
}

// Forge is the forge on an open library: the service and the tools compile the same
// kernels, and go on with one journal, which holds what the forge must remember across
// restarts. It announces nothing unless the caller says how.
func Forge(set *settings.Settings, library *urza.Library) (forge.Config, error) {
	compiler, err := Compiler(set)
	if err != nil {
		return forge.Config{}, err
	}
	return forge.Config{
		Compiler:    compiler.ForForge(),
		Blueprints:  Catalog(set).List,
		Library:     library,
		Stored:      storedKernels{library}.find,
		JournalPath: filepath.Join(set.Weatherlight.DataDir, "forge-journal.jsonl"),
	}, nil
}

// storedKernels tells the forge what the library holds of a blueprint, so that
// it compiles again only what has changed.
type storedKernels struct{ library *urza.Library }

func (s storedKernels) find(ctx context.Context, blueprintID string) (forge.StoredKernel, bool, error) {
	// A row alone is not a kernel: its artifact may be damaged, and is made again.
	// One that cannot be read is for an operator to see to, and keeps no other from being made.
	sound, err := s.library.Has(ctx, blueprintID)
	if !errors.Is(err, urza.ErrUnreadable) && (err != nil || !sound) {
		return forge.StoredKernel{}, false, err
	}
	record, err := s.library.Get(ctx, blueprintID)
	if errors.Is(err, urza.ErrNotFound) {
		return forge.StoredKernel{}, false, nil
	}
	if err != nil {
		return forge.StoredKernel{}, false, fmt.Errorf("look up kernel %s: %w", blueprintID, err)
	}
	digest, _ := record.Extras["build_digest"].(string) // absent from kernels that were imported
	return forge.StoredKernel{
		BuildDigest: digest,
		Update: &leyline.KernelCatalogUpdate{
			BlueprintId: blueprintID,
			ArtifactRef: record.ArtifactRef,
			Checksum:    record.Checksum,
			GuardDigest: record.GuardDigest,
			CompileMs:   float32(record.CompileMs),
			PrewarmMs:   float32(record.PrewarmMs),
		},
	}, true, nil
}
