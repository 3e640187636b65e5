package delivery

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
)

type work func() error

func (w work) Run(context.Context) ([]envelope.Draft, error) { return nil, w() }

// A message that always looks like an outage is given up, but only for what it does
// while others are handled.
func TestR29OutageOfOneEntryAloneEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		others bool          // are handled meanwhile
		lasts  time.Duration // before others are, or the end
		before func(s *consumer, odd outcome)
		dead   bool
	}{
		"for an hour, others go on":           {true, time.Hour - time.Second, nil, false},
		"for longer, others go on":            {true, time.Hour + time.Second, nil, true},
		"for a day, nothing else is finished": {false, 24 * time.Hour, nil, false},
		"its answer could not be stored first": {true, time.Minute, func(s *consumer, odd outcome) {
			s.conclude([]outcome{odd}, settled{results: []int64{commitUnstored}})
		}, false},
		"its answer could not be stored for long, without others": {false, 2 * time.Hour, func(s *consumer, odd outcome) {
			s.inflight.hands[0].succeeded.Add(1)
			s.conclude([]outcome{odd}, settled{results: []int64{commitUnstored}})
			s.inflight.hands[0].succeeded.Add(1) // its own once more
			s.conclude([]outcome{odd}, settled{results: []int64{commitUnstored}})
		}, false},
		"it was given back first": {true, time.Minute, func(s *consumer, odd outcome) {
			s.batcher.expect(1)
			s.bounce(&Task{id: odd.id, attempt: odd.attempt})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &consumer{
					c: New(Config{Counters: new(stats.Counters), Recent: verify.NewRecent(1),
						RetryAttempts: 3, RetryBackoff: time.Millisecond}),
					log: slog.New(slog.DiscardHandler), inflight: newInflight(1), batcher: newBatcher(), gate: newGate(nil),
				}
				odd := work(func() error { return Outage(errors.New("away")) })
				fine := work(func() error { return nil })
				refused := false
				try := func(w handling, id string) {
					s.batcher.expect(1)
					s.handle(t.Context(), &s.inflight.hands[0], &Task{id: id, attempt: 1, Work: w})
					for _, o := range s.batcher.items {
						refused = refused || o.id == "odd" && o.refusal != nil && o.refusal.Reason == deadletter.ReasonExhausted
					}
					s.batcher.items = nil
				}
				try(fine, "before")
				if c.before != nil {
					c.before(s, outcome{id: "odd", attempt: 1, started: time.Now()})
				}
				try(odd, "odd")
				if c.others {
					try(fine, "while it waits")
				}
				time.Sleep(c.lasts)
				for range 3 {
					if c.others {
						try(fine, "other")
					}
					try(odd, "odd")
				}
				if refused != c.dead {
					t.Errorf("given up: %v, want %v", refused, c.dead)
				}
				s.batcher.close()
			})
		})
	}
}
