package delivery

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
)

const (
	commitBatch  = 256             // outcomes of one script call, so that Redis is never held up for long
	commitLinger = 5 * time.Second // how long a stop waits for a bus that is down
	commitLast   = time.Second     // how long after the end of work a commit may take that is under way
)

// committer is what the committing loop keeps for itself.
type committer struct{ backoff *redis.Backoff }

// commitAll reports outcomes to Redis until the batcher is closed and empty.
func (s *consumer) commitAll(fetch, work context.Context) {
	// Not work itself: a handler that finished in time keeps its result.
	base, end := context.WithCancel(context.WithoutCancel(work))
	defer end()
	defer context.AfterFunc(work, func() { time.AfterFunc(commitLast, end) })()
	var spare []outcome
	for {
		items := s.batcher.take(spare)
		if len(items) == 0 {
			return
		}
		for rest := items; len(rest) > 0; {
			n := min(len(rest), commitBatch)
			s.commit(fetch, work, base, rest[:n])
			rest = rest[n:]
		}
		if base.Err() == nil { // no commit was left behind that looks at it yet
			spare = items
		}
	}
}

// commit settles outcomes. It tries again while the bus is down: an outcome
// that is given up stays pending, and its handler runs again.
func (s *consumer) commit(fetch, work, base context.Context, batch []outcome) {
	plain, scripted := split(batch)
	s.untilDone(fetch, work, base, plain, s.store.acknowledge)
	s.untilDone(fetch, work, base, scripted, s.store.settle)
}

// split parts the outcomes that are plain from the others. Most batches are of one kind.
func split(batch []outcome) (plain, scripted []outcome) {
	all := 0
	for i := range batch {
		if batch[i].plain() {
			all++
		}
	}
	switch all {
	case len(batch):
		return batch, nil
	case 0:
		return nil, batch
	}
	plain, scripted = make([]outcome, 0, all), make([]outcome, 0, len(batch)-all)
	for i := range batch {
		if batch[i].plain() {
			plain = append(plain, batch[i])
		} else {
			scripted = append(scripted, batch[i])
		}
	}
	return plain, scripted
}

type commitFunc func(ctx context.Context, batch []outcome) (settled, error)

func (s *consumer) untilDone(fetch, work, base context.Context, batch []outcome, commit commitFunc) {
	if len(batch) == 0 {
		return
	}
	defer s.committer.backoff.Quit()
	var deadline time.Time
	for {
		s.c.resign(batch, s.c.Conn.Now())
		ctx, cancel := context.WithTimeout(base, s.c.Conn.Timeout)
		var came settled
		err := s.sub.Fence(ctx)
		if err == nil {
			// Left behind at the end of base alone: then nobody changes the batch any more.
			came, err = redis.Call(base, s.c.Conn, func(context.Context) (settled, error) { return commit(ctx, batch) })
		}
		cancel()
		if err == nil {
			s.committer.backoff.Over()
			s.gate.committing.over()
			s.conclude(batch, came)
			return
		}
		s.gate.committing.add(err, time.Now())
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
func (s *consumer) conclude(batch []outcome, came settled) {
	now := time.Now()
	s.c.Counters.ConsumeLatency.Observe(now.Sub(batch[len(batch)-1].started))
	s.c.remember(batch, came.results)
	consumed, delivered := stats.Streak{Recorder: s.timings.consumed}, stats.Streak{Recorder: s.timings.delivered}
	ended := batch[:0]
	for i, o := range batch {
		switch came.results[i] {
		case commitDone:
			consumed.Observe(now.Sub(o.started))
			delivered.Observe(now.Sub(o.stored))
			s.c.done(o, s.sub.Stream)
		case commitReplay:
			s.c.deadLettered(deadletter.ReasonReplay, s.sub.Stream)
		case commitUnstored:
			s.await(o.id, o.mark, o.attempt)
			continue
		}
		ended = append(ended, o)
	}
	consumed.End()
	delivered.End()
	s.inflight.endAll(ended)
	if len(ended) > 0 && !ended[0].plain() {
		// One whose answers cannot be stored, while those of others can, is no outage.
		s.gate.storing.over()
	}
	if came.unstored != nil && s.gate.storing.add(came.unstored, now) {
		s.log.Error("an answer could not be stored", "error", came.unstored)
	}
}

// remember notes the marks of those outcomes that were done.
func (d *Deliverer) remember(batch []outcome, results []int64) {
	d.Recent.Update(func(remember func(mark, id string)) {
		for i, o := range batch {
			if o.mark != "" && o.refusal == nil && results[i] == commitDone {
				remember(o.mark, o.id)
			}
		}
	})
}

// done counts what was finished.
func (d *Deliverer) done(o outcome, stream string) {
	if o.refusal != nil {
		d.deadLettered(o.refusal.Reason, stream)
		return
	}
	d.Counters.Consumed.Add(1)
	d.Counters.Published.Add(int64(len(o.answers)))
}

func (d *Deliverer) deadLettered(reason, stream string) {
	d.Counters.Drops.Add(reason, stream)
	d.Counters.DeadLettered.Add(1)
}

// resign signs anew the answers that have waited for too long.
func (d *Deliverer) resign(batch []outcome, now time.Time) {
	limit := now.Add(-d.Resign)
	for _, o := range batch {
		for i, answer := range o.answers {
			if answer.Sealed.Before(limit) {
				o.answers[i] = d.Sealer.Renew(answer, now)
			}
		}
	}
}
