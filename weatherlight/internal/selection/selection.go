// Package selection says which blueprints a seed may be germinated from.
//
// A [Selection] lists the candidates for a slot, from which Tamiyo's controller chooses, and
// has the last word on its choice. It puts together what the catalogue permits, the forge can
// make and the library would serve. The control room asks it, through the service.
package selection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
)

// Config is what there is to select from.
type Config struct {
	Catalog *karn.Catalog
	// Surveyor knows what the forge can make.
	Surveyor *tezzeret.Surveyor
	Library  *urza.Library
	// OwnSlot is the shape of the slot that the library's own kernels are made for.
	OwnSlot []int
	// Offer takes a telemetry packet. It must not block.
	Offer func(*leyline.TelemetryPacket)
}

// Selection selects blueprints. Its methods may be called at the same time.
type Selection struct{ config Config }

// New asks nothing yet.
func New(config Config) *Selection { return &Selection{config} }

// Permit puts the controller's choice through the catalogue, which counts
// it and has the last word. The library has looked at the approval of the very
// artifact before. What is in no catalogue, such as an imported kernel, is not for
// Karn to judge.
func (s *Selection) Permit(ctx context.Context, id string) error {
	blueprint, err := s.config.Catalog.Get(id)
	if err != nil {
		return nil //nolint:nilerr // in no catalogue
	}
	_, err = s.config.Catalog.Select(ctx, karn.Request{
		BlueprintID: id,
		Parameters:  karn.Midpoints(blueprint),
		Grant:       karn.Grant{Approved: []string{id}},
	})
	if selections := s.config.Catalog.Packet(); selections != nil {
		s.config.Offer(selections)
	}
	return err
}

// Candidates are the blueprints that the controller may choose from for a slot:
// those that the forge can make for it and the library would serve, and for the
// library's own slot what was imported besides.
func (s *Selection) Candidates(ctx context.Context, slot []int) ([]tamiyo.Candidate, error) {
	surveyed, err := s.config.Surveyor.Candidates(ctx, slot...)
	if err != nil {
		return nil, fmt.Errorf("look for blueprints that fit a slot of %v: %w", slot, err)
	}
	candidates := make([]tamiyo.Candidate, 0, len(surveyed))
	for _, found := range surveyed {
		blueprint, err := s.config.Catalog.Get(found.BlueprintID)
		if err != nil {
			continue
		}
		err = s.config.Library.WithheldVariant(ctx, blueprint)
		if errors.Is(err, urza.ErrUnavailable) { // not that there are none
			return nil, fmt.Errorf("ask the library for %s: %w", found.BlueprintID, err)
		}
		if err != nil {
			continue
		}
		candidates = append(candidates, candidate(blueprint, found.ParameterCount, found.MultiplyAdds))
	}
	if !slices.Equal(slot, s.config.OwnSlot) {
		return candidates, nil
	}
	imported, err := s.importedCandidates(ctx)
	return append(candidates, imported...), err
}

// importedCandidates are the kernels of the library whose blueprints are in no
// catalogue.
func (s *Selection) importedCandidates(ctx context.Context) ([]tamiyo.Candidate, error) {
	records, err := s.config.Library.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	var candidates []tamiyo.Candidate
	for _, record := range records {
		if _, err := s.config.Catalog.Get(record.Descriptor.GetBlueprintId()); err != nil && s.config.Library.Withheld(record) == nil {
			candidates = append(candidates, candidate(record.Descriptor, parameterCount(record), 0))
		}
	}
	return candidates, nil
}

func candidate(blueprint *leyline.BlueprintDescriptor, parameters int, multiplyAdds int64) tamiyo.Candidate {
	return tamiyo.Candidate{
		BlueprintID:      blueprint.GetBlueprintId(),
		Tier:             blueprint.GetTier(),
		Risk:             float64(blueprint.GetRisk()),
		ParameterCount:   parameters,
		MultiplyAdds:     multiplyAdds,
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
