package weatherlight

import (
	"context"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// permitBlueprint puts the controller's choice through the catalogue, which counts
// it and has the last word. The library has looked at the approval of the very
// artifact before. What is in no catalogue, such as an imported kernel, is not for
// Karn to judge.
func (s *Service) permitBlueprint(ctx context.Context, id string) error {
	blueprint, err := s.catalog.Get(id)
	if err != nil {
		return nil //nolint:nilerr // in no catalogue
	}
	_, err = s.catalog.Select(ctx, karn.Request{
		BlueprintID: id,
		Parameters:  karn.Midpoints(blueprint),
		Grant:       karn.Grant{Approved: []string{id}},
	})
	if selections := s.catalog.Packet(); selections != nil {
		s.telemetry.Offer(selections)
	}
	return err
}

func (s *Service) catalogPoints() []metrics.Point {
	return metrics.Prefixed("", s.catalog.Metrics(), nil)
}
