package maintenance

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

// Scrubber reads every kernel again, now and then, so that damage is found before
// somebody asks for the kernel. Of the instances that share a library one does.
type Scrubber struct {
	Ours     func() bool // whether it is this instance's turn
	Scrub    func(context.Context) (urza.Scrubbed, error)
	Interval time.Duration
	Logger   *slog.Logger
}

// Run scrubs, pauses and starts over until ctx is done. It fails when the catalogue
// cannot be read.
func (s Scrubber) Run(ctx context.Context) error {
	// Not at once: a boot, and a forge at work, come first.
	for pause := scrubTurn; cadence.Sleep(ctx, pause); {
		pause = scrubTurn
		if !s.Ours() {
			continue
		}
		found, err := s.Scrub(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("scrub kernel library: %w", err)
		}
		s.Logger.Info("scrub finished", "checked", found.Checked, "corrupt", found.Corrupt,
			"missing", found.Missing, "untrusted", found.Untrusted, "failed", found.Failed, "pruned", found.Pruned)
		pause = s.Interval
	}
	return nil
}
