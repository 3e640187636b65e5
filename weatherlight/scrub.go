package weatherlight

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/urza"
)

// scrubTurn is the pause before it is asked again whether the scrub is this
// instance's turn.
const scrubTurn = 10 * time.Second

// scrubber reads every kernel again, now and then, so that damage is found before
// somebody asks for the kernel. Of the instances that share a library one does.
type scrubber struct {
	ours     func() bool // whether it is this instance's turn
	scrub    func(context.Context) (urza.Scrubbed, error)
	interval time.Duration
	logger   *slog.Logger
}

func (s *Service) newScrubber() *scrubber {
	set := s.settings.Urza
	return &scrubber{
		ours: s.fleet.KeepsLibrary,
		scrub: func(ctx context.Context) (urza.Scrubbed, error) {
			return s.library.Scrub(ctx, int64(set.ScrubBytesPerSecond))
		},
		interval: set.ScrubInterval, logger: s.logger,
	}
}

// run scrubs, pauses and starts over until ctx is done. It fails when the catalogue
// cannot be read.
func (s *scrubber) run(ctx context.Context) error {
	// Not at once: a boot, and a forge at work, come first.
	for pause := scrubTurn; cadence.Sleep(ctx, pause); {
		pause = scrubTurn
		if !s.ours() {
			continue
		}
		found, err := s.scrub(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("scrub kernel library: %w", err)
		}
		s.logger.Info("scrub finished", "checked", found.Checked, "corrupt", found.Corrupt,
			"missing", found.Missing, "untrusted", found.Untrusted, "failed", found.Failed, "pruned", found.Pruned)
		pause = s.interval
	}
	return nil
}
