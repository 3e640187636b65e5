package urza

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/metadata"
)

// MergeCapabilities records which parameters of a blueprint each seed may use, as
// graph_metadata.capabilities.allowed_parameters_by_seed_id, replaced whole: a seed
// that is not in bySeed loses its entry. Names that the blueprint's graph metadata
// does not know are left out; when it knows none, all are kept. It reports whether
// the row changed. A row without graph metadata has nothing to restrict and stays.
// Errors: ErrNotFound, ErrUnavailable.
func (l *Library) MergeCapabilities(ctx context.Context, blueprintID string, bySeed map[string][]string) (bool, error) {
	if err := l.lookup.open(); err != nil {
		return false, fmt.Errorf("urza: merge capabilities: %w", err)
	}
	changed, err := l.catalogue.Amend(ctx, blueprintID, func(old catalogue.Row) (string, error) {
		text, err := metadata.Allow(old.Metadata, bySeed)
		if err != nil {
			return "", &RowError{blueprintID, err.Error()}
		}
		return text, nil
	})
	if err != nil {
		return false, fmt.Errorf("urza: merge capabilities of %q: %w", blueprintID, err)
	}
	if changed {
		l.lookup.forget(catalogue.Key{ID: blueprintID})
	}
	return changed, nil
}
