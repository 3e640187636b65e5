package weatherlight

import (
	"context"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/urza"
)

// scrubTurn is the pause before it is asked again whether the scrub is this
// instance's turn.
const scrubTurn = 10 * time.Second

// scrub reads every kernel again, now and then, so that damage is found before
// somebody asks for the kernel. Of the instances that share a library one does.
func (s *Service) scrub(ctx context.Context) error {
	set := s.settings.Urza
	scrubber := urza.NewScrubber(s.library, urza.ScrubConfig{
		BytesPerSecond: int64(set.ScrubBytesPerSecond), Logger: s.logger.With("part", "urza"),
	})
	// Not at once: a boot, and a forge at work, come first.
	pause := time.NewTimer(scrubTurn)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		if !s.fleet.keeps(s.libraryID()) {
			pause.Reset(scrubTurn)
			continue
		}
		found, err := scrubber.Pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("scrub kernel library: %w", err)
		}
		s.logger.Info("scrub finished", "checked", found.Checked, "corrupt", found.Corrupt,
			"missing", found.Missing, "untrusted", found.Untrusted, "failed", found.Failed, "pruned", found.Pruned)
		pause.Reset(set.ScrubInterval)
	}
}
