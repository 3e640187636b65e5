package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
)

// NewCatalog is the blueprint catalogue that the settings describe, with what
// this deployment permits.
func NewCatalog(resolved *settings.Settings) *karn.Catalog {
	set := resolved.Karn
	return karn.NewCatalogWith(karn.Config{
		Granted:     karn.Grant{Approved: set.Approved, Quarantine: set.QuarantineGrant},
		Quarantined: set.Quarantined,
	})
}

// ForgeConfig is the forge that the settings describe, on an open library: the
// service and the tools compile the same kernels, and go on with one journal. It
// announces nothing unless the caller says how.
func ForgeConfig(resolved *settings.Settings, library *urza.Library) (forge.Config, error) {
	compiler, err := newCompiler(resolved)
	if err != nil {
		return forge.Config{}, err
	}
	return forge.Config{
		Compiler:    compiler.ForForge(),
		Blueprints:  NewCatalog(resolved).List,
		Library:     library,
		Stored:      storedKernels{library}.find,
		JournalPath: forgeJournal(resolved),
	}, nil
}

// forgeJournal is where the forge keeps what it must remember across restarts:
// failures, parked blueprints, kernels stored and not yet announced.
func forgeJournal(resolved *settings.Settings) string {
	return filepath.Join(resolved.Weatherlight.DataDir, "forge-journal.jsonl")
}

// storedKernels tells the forge what the library holds of a blueprint, so that
// it compiles again only what has changed.
type storedKernels struct{ library *urza.Library }

func (s storedKernels) find(ctx context.Context, blueprintID string) (forge.StoredKernel, bool, error) {
	// A row alone is not a kernel: its artifact may be damaged, and is made again.
	if sound, err := s.library.Has(ctx, blueprintID); err != nil || !sound {
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
