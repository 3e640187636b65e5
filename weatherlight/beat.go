package weatherlight

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/oona"
)

// rhythm is that of the bus client, so that the loops of this process fall
// together with it.
func (s *Service) rhythm() oona.Rhythm { return oona.RhythmOf(s.settings.Weatherlight.Consumer()) }

// every does something at the beats of a period until ctx is done.
func every(ctx context.Context, rhythm oona.Rhythm, period time.Duration, do func(context.Context)) {
	for sleep(ctx, rhythm.Until(period)) {
		do(ctx)
	}
}

// sleep waits for d, or until ctx is done: then it returns false.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
