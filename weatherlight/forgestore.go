package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
)

// forgeJournal is where the forge keeps what it must remember across restarts:
// failures, parked blueprints, kernels stored and not yet announced.
func (s *Service) forgeJournal() string {
	return filepath.Join(s.settings.Weatherlight.DataDir, "forge-journal.jsonl")
}

// storedKernel tells the forge what the library holds of a blueprint, so that
// it compiles again only what has changed.
func (s *Service) storedKernel(ctx context.Context, blueprintID string) (tezzeret.StoredKernel, bool, error) {
	// A row alone is not a kernel: its artifact may be damaged, and is made again.
	if sound, err := s.library.Has(ctx, blueprintID); err != nil || !sound {
		return tezzeret.StoredKernel{}, false, err
	}
	record, err := s.library.Get(ctx, blueprintID)
	if errors.Is(err, urza.ErrNotFound) {
		return tezzeret.StoredKernel{}, false, nil
	}
	if err != nil {
		return tezzeret.StoredKernel{}, false, fmt.Errorf("look up kernel %s: %w", blueprintID, err)
	}
	digest, _ := record.Extras["build_digest"].(string) // absent from kernels that were imported
	return tezzeret.StoredKernel{
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
