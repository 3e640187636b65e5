package weatherlight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// fanOutCapabilities writes into the library which seeds may set the parameters
// of each blueprint: those that blend it. A blueprint that no seed blends any
// more gets empty lists, so capabilities are taken back as well as given.
func (s *Service) fanOutCapabilities(ctx context.Context) (map[string]float64, error) {
	if err := s.recallGranted(ctx); err != nil {
		return nil, err
	}
	if s.fleet.Leads() {
		// A leader that was must not write over its successor.
		if err := s.fleet.Confirm(ctx); err != nil {
			return nil, fmt.Errorf("fan out capabilities: %w", err)
		}
	}
	known, blending, err := s.knownSeeds(ctx)
	if err != nil {
		return nil, fmt.Errorf("fan out capabilities: %w", err)
	}
	for blueprint := range blending {
		s.granted[blueprint] = true
	}
	var failures []error
	changes := 0
	for _, blueprint := range sortedNames(s.granted) {
		allowed := make(map[string][]string, len(known))
		for _, seed := range known {
			allowed[seed] = []string{}
		}
		for _, seed := range blending[blueprint] {
			allowed[seed] = s.parameterNames(ctx, blueprint)
		}
		changed, err := s.library.MergeCapabilities(ctx, blueprint, allowed)
		if err != nil && !errors.Is(err, urza.ErrNotFound) {
			failures = append(failures, fmt.Errorf("capabilities of %s: %w", blueprint, err))
			continue
		}
		changes += int(metrics.Flag(changed))
		if len(blending[blueprint]) == 0 {
			delete(s.granted, blueprint)
		}
	}
	return map[string]float64{"blending": float64(len(blending)), "changed": float64(changes)}, errors.Join(failures...)
}

// knownSeeds are the seeds of all runs, and those of them that blend, by blueprint.
func (s *Service) knownSeeds(ctx context.Context) (known []string, blending map[string][]string, err error) {
	blending = make(map[string][]string)
	err = s.runs.Each(ctx, func(_ string, record *kasmina.Record) {
		for _, seed := range kasmina.States(record) {
			known = append(known, seed.GetSeedId())
		}
		for blueprint, seeds := range kasmina.BlendingSeeds(record) {
			blending[blueprint] = append(blending[blueprint], seeds...)
		}
	})
	return known, blending, err
}

// recallGranted finds, once, what an earlier run granted: its seeds are gone, so
// nobody else would take it back.
func (s *Service) recallGranted(ctx context.Context) error {
	if s.granted != nil {
		return nil
	}
	records, err := s.library.List(ctx)
	if err != nil {
		return fmt.Errorf("recall capabilities: %w", err)
	}
	s.granted = make(map[string]bool)
	for _, record := range records {
		if grants(record.Extras["graph_metadata"]) {
			s.granted[record.Descriptor.GetBlueprintId()] = true
		}
	}
	return nil
}

// grants reports whether graph metadata allows any seed any parameter. Some
// writers keep it as JSON text: that is not looked into, only at.
func grants(graph any) bool {
	const key = "allowed_parameters_by_seed_id"
	if text, ok := graph.(string); ok {
		return strings.Contains(text, key)
	}
	fields, _ := graph.(map[string]any)
	capabilities, _ := fields["capabilities"].(map[string]any)
	bySeed, _ := capabilities[key].(map[string]any)
	for _, names := range bySeed {
		if list, _ := names.([]any); len(list) > 0 {
			return true
		}
	}
	return false
}

// parameterNames are the parameters that a blueprint declares, in order: in our
// catalogue, or else in the graph metadata that it was imported with.
func (s *Service) parameterNames(ctx context.Context, blueprintID string) []string {
	if blueprint, err := s.catalog.Get(blueprintID); err == nil {
		return sortedNames(blueprint.GetAllowedParameters())
	}
	record, err := s.library.Get(ctx, blueprintID)
	if err != nil {
		return []string{} // Whoever writes them down meets the same error.
	}
	return declaredNames(record.Extras["graph_metadata"])
}

// declaredNames reads graph metadata, or the JSON text of it.
func declaredNames(graph any) []string {
	fields, _ := graph.(map[string]any)
	if text, ok := graph.(string); ok && json.Unmarshal([]byte(text), &fields) != nil {
		return []string{}
	}
	names := []string{}
	list, _ := fields["parameters"].([]any)
	for _, declared := range list {
		parameter, _ := declared.(map[string]any)
		if name, _ := parameter["name"].(string); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
