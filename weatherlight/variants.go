package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza"
)

// newCompiler is the compiler that the settings describe, for the library's own slot.
func newCompiler(resolved *settings.Settings) (*tezzeret.Compiler, error) {
	slot, err := tezzeret.NewSlot(resolved.Tezzeret.SlotSizes()...)
	if err != nil {
		return nil, fmt.Errorf("slot of the host layer: %w", err)
	}
	return tezzeret.NewCompiler(tezzeret.Config{
		Slot:       slot,
		Approved:   resolved.Karn.Approved,
		Quarantine: resolved.Karn.QuarantineGrant,
	}), nil
}

// variantForge makes kernels on demand, with the permissions of the deployment.
type variantForge struct {
	compiler *tezzeret.Compiler
	catalog  *karn.Catalog
}

func (f variantForge) forge(ctx context.Context, id string, variant trainer.Variant) (urza.Forged, error) {
	blueprint, err := f.catalog.Get(id)
	if err != nil {
		return urza.Forged{}, fmt.Errorf("%w: %w", urza.ErrNotFound, err)
	}
	compiled, err := f.compiler.CompileVariant(ctx, blueprint, variant.Slot, variant.Parameters)
	if err != nil {
		return urza.Forged{}, forgeError(err)
	}
	return urza.Forged{
		Descriptor: compiled.Descriptor, Artifact: compiled.Artifact,
		Update: compiled.Update(), Extras: compiled.Extras(),
	}, nil
}

// forgeError tells what is the request's own fault.
func forgeError(err error) error {
	refused, is := errors.AsType[*tezzeret.NotCompilableError](err)
	switch {
	case is && refused.Forbidden:
		return fmt.Errorf("%w: %w", urza.ErrWithheld, err)
	case is:
		return fmt.Errorf("%w: %w", urza.ErrNotCompilable, err)
	case errors.Is(err, tezzeret.ErrParameters):
		return fmt.Errorf("%w: %w", urza.ErrInvalidParameters, err)
	default:
		return err
	}
}

// current says whether a stored variant is what the forge would make now.
func (f variantForge) current(stored *urza.Record, variant trainer.Variant) bool {
	blueprint, err := f.catalog.Get(stored.Descriptor.GetBlueprintId())
	if err != nil {
		return false
	}
	digest, err := f.compiler.VariantDigest(blueprint, variant.Slot, variant.Parameters)
	return err == nil && stored.Extras["build_digest"] == digest
}

// candidates are the blueprints that the controller may choose from for a slot:
// those that the forge can make for it and the library would serve, and for the
// library's own slot what was imported besides.
func (s *Service) candidates(ctx context.Context, slot []int) ([]tamiyo.Candidate, error) {
	surveyed, err := s.surveyor.Candidates(ctx, slot...)
	if err != nil {
		return nil, fmt.Errorf("look for blueprints that fit a slot of %v: %w", slot, err)
	}
	candidates := make([]tamiyo.Candidate, 0, len(surveyed))
	for _, found := range surveyed {
		blueprint, err := s.catalog.Get(found.BlueprintID)
		if err != nil || s.library.WithheldVariant(ctx, blueprint) != nil {
			continue
		}
		candidates = append(candidates, candidate(blueprint, found.ParameterCount))
	}
	if !slices.Equal(slot, s.settings.Tezzeret.SlotSizes()) {
		return candidates, nil
	}
	imported, err := s.importedCandidates(ctx)
	return append(candidates, imported...), err
}

// importedCandidates are the kernels of the library whose blueprints are in no
// catalogue.
func (s *Service) importedCandidates(ctx context.Context) ([]tamiyo.Candidate, error) {
	records, err := s.library.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	var candidates []tamiyo.Candidate
	for _, record := range records {
		if _, err := s.catalog.Get(record.Descriptor.GetBlueprintId()); err != nil && s.library.Withheld(record) == nil {
			candidates = append(candidates, candidate(record.Descriptor, parameterCount(record)))
		}
	}
	return candidates, nil
}

func candidate(blueprint *leyline.BlueprintDescriptor, parameters int) tamiyo.Candidate {
	return tamiyo.Candidate{
		BlueprintID:      blueprint.GetBlueprintId(),
		Tier:             blueprint.GetTier(),
		Risk:             float64(blueprint.GetRisk()),
		ParameterCount:   parameters,
		ApprovalRequired: blueprint.GetApprovalRequired(),
		QuarantineOnly:   blueprint.GetQuarantineOnly(),
	}
}

// parameterCount is how many weights of a kernel can be trained, as its maker
// noted; an imported artifact may not say.
func parameterCount(record *urza.Record) int {
	switch count := record.Extras["parameter_count"].(type) {
	case int:
		return count
	case int64:
		return int(count)
	case float64:
		return int(count)
	default:
		return 0
	}
}
