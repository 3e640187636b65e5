package oona

import (
	"context"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
)

const (
	commitBatch   = 256             // outcomes of one script call, so that Redis is never held up for long
	commitLinger  = 5 * time.Second // how long a stop waits for a bus that is down
	unstoredQuiet = time.Minute     // without an answer that could not be stored, and the next one is told again
)

// Results of the commit script for one outcome.
const (
	commitLost     = 0  // done before, by somebody else or in a group that was lost: nothing was done
	commitDone     = 1  //
	commitReplay   = 2  // its request id was answered meanwhile
	commitUnstored = -1 // an answer or dead letter could not be stored: pending again
)

// commitAll reports outcomes to Redis until the outbox is closed and empty.
func (s *consumer) commitAll(fetch, work context.Context) {
	var spare []outcome
	for {
		items := s.outbox.take(spare)
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
	s.untilDone(fetch, work, plain, s.acknowledge)
	commit := s.runScript
	if s.c.conn.Clustered {
		commit = s.runSteps
	}
	s.untilDone(fetch, work, scripted, commit)
}

type commitFunc func(ctx context.Context, batch []outcome) ([]int64, error)

func (s *consumer) untilDone(fetch, work context.Context, batch []outcome, commit commitFunc) {
	if len(batch) == 0 {
		return
	}
	// Not work itself: a handler that finished in time keeps its result.
	base := context.WithoutCancel(work)
	defer s.commits.Quit()
	var deadline time.Time
	for {
		s.c.reseal(batch, time.Now())
		ctx, cancel := context.WithTimeout(base, s.c.cfg.DialTimeout)
		results, err := commit(ctx, batch)
		cancel()
		if err == nil {
			s.commits.Over()
			s.conclude(batch, results)
			return
		}
		if deadline.IsZero() && fetch.Err() != nil {
			deadline = time.Now().Add(commitLinger)
		}
		if work.Err() != nil || !deadline.IsZero() && time.Now().After(deadline) {
			s.log.Warn("outcomes stay pending", "entries", len(batch), "error", err)
			s.lanes.abandon()
			s.flights.endAll(batch)
			return
		}
		s.commits.Pause(work, err)
	}
}

// acknowledge settles outcomes that publish nothing, in one command.
func (s *consumer) acknowledge(ctx context.Context, batch []outcome) ([]int64, error) {
	ids := make([]string, len(batch))
	for i, o := range batch {
		ids[i] = o.id
	}
	command := s.c.conn.B().Xack().Key(s.sub.Stream).Group(s.sub.Group).Id(ids...).Build()
	if err := s.c.conn.Do(ctx, command).Error(); err != nil {
		return nil, fmt.Errorf("acknowledge on %s: %w", s.sub.Stream, err)
	}
	results := make([]int64, len(batch))
	for i := range results {
		results[i] = commitDone
	}
	return results, nil
}

// runScript settles outcomes atomically: see commit.lua.
func (s *consumer) runScript(ctx context.Context, batch []outcome) ([]int64, error) {
	keys, args := s.scriptInput(batch, time.Now())
	results, err := commitScript.Exec(ctx, s.c.conn, keys, args).AsIntSlice()
	if err != nil {
		return nil, fmt.Errorf("commit on %s: %w", s.sub.Stream, err)
	}
	if len(results) != len(batch) {
		return nil, fmt.Errorf("commit on %s: %d results for %d outcomes", s.sub.Stream, len(results), len(batch))
	}
	return results, nil
}

// conclude draws the consequences of a commit in this process.
func (s *consumer) conclude(batch []outcome, results []int64) {
	now := time.Now()
	s.c.meters.ConsumeLatency.Observe(now.Sub(batch[len(batch)-1].started))
	consumed, delivered := stats.Streak{Recorder: s.consumed}, stats.Streak{Recorder: s.delivered}
	ended := batch[:0]
	for i, o := range batch {
		switch results[i] {
		case commitDone:
			consumed.Observe(now.Sub(o.started))
			delivered.Observe(now.Sub(entry.StoredAt(o.id)))
			if o.mark != "" && o.refusal == nil {
				s.c.recent.Remember(o.mark, o.id)
			}
			s.done(o)
		case commitReplay:
			s.buried(deadletter.ReasonReplay)
		case commitUnstored:
			s.reportUnstored(o.id, now)
			s.postpone(o.id, o.mark, max(1, o.attempt))
			continue
		}
		ended = append(ended, o)
	}
	consumed.End()
	delivered.End()
	s.flights.endAll(ended)
}

// reportUnstored says that an answer could not be stored, once an episode: each
// of its retries fails too.
func (s *consumer) reportUnstored(id string, now time.Time) {
	if s.unstored.IsZero() || now.Sub(s.unstored) > unstoredQuiet {
		s.log.Error("an answer could not be stored", "entry", id)
	}
	s.unstored = now
}

func (s *consumer) done(o outcome) {
	if o.refusal != nil {
		s.buried(o.refusal.Reason)
		return
	}
	s.c.meters.Consumed.Add(1)
	s.c.meters.Published.Add(int64(len(o.answers)))
}

func (s *consumer) buried(reason string) {
	s.c.meters.Drops.Add(reason, s.sub.Stream)
	s.c.meters.DeadLettered.Add(1)
}
