package urza

import (
	"context"
	"errors"
	"fmt"
)

// Ping asks the catalogue for a sign of life, through the breaker: so an outage
// is known, and its end too, although nobody looks anything up. It counts as no
// look-up.
func (l *Library) Ping(ctx context.Context) error {
	if l.closed.Load() {
		return fmt.Errorf("urza: ping: %w: library closed", ErrUnavailable)
	}
	err := l.breaker.guard(func() error {
		_, err := l.catalogue.row(ctx, key{})
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("urza: ping: %w", err)
	}
	return nil
}
