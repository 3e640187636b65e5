package weatherlight

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/urza"
)

// fanOutCapabilities writes into the library which seeds may set the parameters
// of each blueprint: those that blend it. A blueprint that no seed blends any
// more gets empty lists, so capabilities are taken back as well as given.
func (s *Service) fanOutCapabilities(ctx context.Context) (map[string]float64, error) {
	blending := s.seeds.BlendingSeeds()
	for blueprint := range blending {
		s.granted[blueprint] = true
	}
	known := s.seeds.SeedStates()
	var failures []error
	changes := 0
	for _, blueprint := range sortedNames(s.granted) {
		allowed := make(map[string][]string, len(known))
		for _, seed := range known {
			allowed[seed.GetSeedId()] = []string{}
		}
		for _, seed := range blending[blueprint] {
			allowed[seed] = s.parameterNames(blueprint)
		}
		changed, err := s.library.MergeCapabilities(ctx, blueprint, allowed)
		if err != nil && !errors.Is(err, urza.ErrNotFound) {
			failures = append(failures, fmt.Errorf("capabilities of %s: %w", blueprint, err))
			continue
		}
		changes += int(flag(changed))
		if len(blending[blueprint]) == 0 {
			delete(s.granted, blueprint)
		}
	}
	return map[string]float64{"blending": float64(len(blending)), "changed": float64(changes)}, errors.Join(failures...)
}

// parameterNames are the parameters that a blueprint declares, in order.
func (s *Service) parameterNames(blueprintID string) []string {
	blueprint, err := s.catalog.Get(blueprintID)
	if err != nil {
		return []string{} // An imported blueprint declares none.
	}
	return sortedNames(blueprint.GetAllowedParameters())
}
