package delivery

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
)

const (
	commitBatch   = 256             // outcomes of one script call, so that Redis is never held up for long
	commitLinger  = 5 * time.Second // how long a stop waits for a bus that is down
	unstoredQuiet = time.Minute     // without an answer that could not be stored, and the next one is told again
)

// committer is what the committing loop keeps for itself.
type committer struct {
	backoff  *redis.Backoff
	unstored time.Time // when an answer could last not be stored
}

// commitAll reports outcomes to Redis until the batcher is closed and empty.
func (s *consumer) commitAll(fetch, work context.Context) {
	var spare []outcome
	for {
		items := s.batcher.take(spare)
		if len(items) == 0 {
			return
		}
		for rest := items; len(rest) > 0; {
			n := min(len(rest), commitBatch)
			s.commit(fetch, work, rest[:n])
			rest = rest[n:]
		}
		spare = items
	}
}

// commit settles outcomes. It tries again while the bus is down: an outcome
// that is given up stays pending, and its handler runs again.
func (s *consumer) commit(fetch, work context.Context, batch []outcome) {
	var plain, scripted []outcome
	for _, o := range batch {
		if o.plain() {
			plain = append(plain, o)
		} else {
			scripted = append(scripted, o)
		}
	}
	s.untilDone(fetch, work, plain, s.store.acknowledge)
	s.untilDone(fetch, work, scripted, s.store.settle)
}

type commitFunc func(ctx context.Context, batch []outcome) ([]int64, error)

func (s *consumer) untilDone(fetch, work context.Context, batch []outcome, commit commitFunc) {
	if len(batch) == 0 {
		return
	}
	// Not work itself: a handler that finished in time keeps its result.
	base := context.WithoutCancel(work)
	defer s.committer.backoff.Quit()
	var deadline time.Time
	for {
		s.resign(batch, s.c.Conn.Now())
		ctx, cancel := context.WithTimeout(base, s.c.Conn.Timeout)
		var results []int64
		err := s.sub.Fence(ctx)
		if err == nil {
			results, err = commit(ctx, batch)
		}
		cancel()
		if err == nil {
			s.committer.backoff.Over()
			s.conclude(batch, results)
			return
		}
		if deadline.IsZero() && fetch.Err() != nil {
			deadline = time.Now().Add(commitLinger)
		}
		if work.Err() != nil || !deadline.IsZero() && time.Now().After(deadline) {
			s.log.Warn("outcomes stay pending", "entries", len(batch), "error", err)
			s.order.abandon()
			s.inflight.endAll(batch)
			return
		}
		s.committer.backoff.Pause(work, err)
	}
}

// conclude draws the consequences of a commit in this process.
func (s *consumer) conclude(batch []outcome, results []int64) {
	now := time.Now()
	s.c.Counters.ConsumeLatency.Observe(now.Sub(batch[len(batch)-1].started))
	s.remember(batch, results)
	consumed, delivered := stats.Streak{Recorder: s.consumed}, stats.Streak{Recorder: s.delivered}
	ended := batch[:0]
	for i, o := range batch {
		switch results[i] {
		case commitDone:
			consumed.Observe(now.Sub(o.started))
			delivered.Observe(now.Sub(entry.StoredAt(o.id)))
			s.done(o)
		case commitReplay:
			s.deadLettered(deadletter.ReasonReplay)
		case commitUnstored:
			s.reportUnstored(o.id, now)
			s.postpone(o.id, o.mark, max(1, o.attempt))
			continue
		}
		ended = append(ended, o)
	}
	consumed.End()
	delivered.End()
	s.inflight.endAll(ended)
}

// remember notes the marks of those outcomes that were done.
func (s *consumer) remember(batch []outcome, results []int64) {
	s.c.Recent.Update(func(remember func(mark, id string)) {
		for i, o := range batch {
			if o.mark != "" && o.refusal == nil && results[i] == commitDone {
				remember(o.mark, o.id)
			}
		}
	})
}

// reportUnstored says that an answer could not be stored, once an episode: each
// of its retries fails too.
func (s *consumer) reportUnstored(id string, now time.Time) {
	if s.committer.unstored.IsZero() || now.Sub(s.committer.unstored) > unstoredQuiet {
		s.log.Error("an answer could not be stored", "entry", id)
	}
	s.committer.unstored = now
}

func (s *consumer) done(o outcome) {
	if o.refusal != nil {
		s.deadLettered(o.refusal.Reason)
		return
	}
	s.c.Counters.Consumed.Add(1)
	s.c.Counters.Published.Add(int64(len(o.answers)))
}

func (s *consumer) deadLettered(reason string) {
	s.c.Counters.Drops.Add(reason, s.sub.Stream)
	s.c.Counters.DeadLettered.Add(1)
}

// resign signs anew the answers that have waited for too long.
func (s *consumer) resign(batch []outcome, now time.Time) {
	limit := now.Add(-s.c.Resign)
	for _, o := range batch {
		for i, answer := range o.answers {
			if answer.Sealed.Before(limit) {
				o.answers[i] = s.c.Sealer.Renew(answer, now)
			}
		}
	}
}
