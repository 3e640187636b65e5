package control_test

import (
	"context"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// sign notes for how long answers are to be read.
type sign struct {
	control.Awaits

	patience time.Duration
}

func (s *sign) Await(ctx context.Context, part string, patience time.Duration) error {
	s.patience = patience
	return s.Awaits.Await(ctx, part, patience)
}

// An answer that comes in time must be read, also when others do not wait as long.
func TestAnswersAreReadForAsLongAsARunMayWait(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		for _, row := range []struct{ timeout, least time.Duration }{
			{0, time.Minute}, // the longest that a run waits where answers are known to take long
			{5 * time.Second, time.Minute},
			{time.Minute, time.Minute},
			{time.Hour, time.Hour},
		} {
			noted := &sign{}
			run := "run of " + row.timeout.String()
			o := open(t, url, run, func(c *control.Config) {
				c.PrefetchTimeout = row.timeout
				noted.Awaits, c.Awaits = c.Awaits, noted
			})
			o.hear(run)
			o.do(o.command(run, run, germinating("seed-1")))
			if late := row.least + 30*time.Second; noted.patience < late {
				t.Errorf("a run may wait %s, answers are read for %s", row.least, noted.patience)
			}
		}
	})
}
