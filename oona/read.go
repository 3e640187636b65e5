package oona

import (
	"context"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// read takes in new entries until fetch is done. Whatever fails, it starts over
// from the group and the own pending entries: a reply that was lost on the way
// leaves entries delivered to nobody.
func (s *consumer) read(fetch, work context.Context) {
	defer s.line.Close()
	backoff := s.c.conn.NewBackoff(s.log, &s.c.meters.ReadFailures)
	defer backoff.Quit()
	begun, announced := false, false
	for fetch.Err() == nil {
		reading := begun
		err := s.readOnce(fetch, work, &begun, announced)
		if fetch.Err() != nil {
			break
		}
		if err != nil {
			begun = false
			s.c.meters.ReadRefused.Add(1)
			backoff.Pause(fetch, err)
			continue
		}
		if !reading {
			// A beginning alone proves nothing: a read-only Redis, or one whose access
			// list has a gap, lists what is pending and refuses to be read.
			continue
		}
		backoff.Over()
		if !announced {
			announced = true
			s.sub.OnReady()
		}
	}
	if begun {
		// The server may have answered the read that was just cut off.
		_ = s.adopt(work, work, 0) // what fails here is found by the next start
	}
}

// readOnce makes one step: the beginning, or one batch, for which it waits when it
// is patient.
func (s *consumer) readOnce(fetch, work context.Context, begun *bool, patient bool) error {
	if !*begun {
		if err := s.begin(fetch, work); err != nil {
			return err
		}
		*begun = true
		return nil
	}
	if s.idle() {
		if wanted, err := s.skip(fetch, patient); err != nil || !wanted {
			return err
		}
	}
	if s.lanes.awaitRoom(fetch); fetch.Err() != nil {
		return nil
	}
	entries, err := s.readBatch(fetch, work, patient)
	if err != nil {
		return err
	}
	if entries = s.flights.begin(entries, time.Now()); len(entries) > 0 {
		select {
		case s.batches <- entries:
		case <-work.Done():
		}
	}
	return nil
}

// begin takes up what this consumer had in hand when it last ended, and creates
// the group only when it is missing: a Redis that is out of memory refuses to
// create groups, even those that exist, but still serves them.
func (s *consumer) begin(fetch, work context.Context) error {
	err := s.adopt(fetch, work, 0)
	if !redis.HasCode(err, "NOGROUP") {
		return err
	}
	ctx, cancel := context.WithTimeout(fetch, s.c.cfg.DialTimeout)
	defer cancel()
	return s.c.conn.EnsureGroups(ctx, s.sub.Group, s.sub.Stream)
}

func (s *consumer) readBatch(fetch, work context.Context, patient bool) ([]entry.Entry, error) {
	var wait time.Duration
	if patient {
		wait = s.c.phase.Until(max(s.sub.Block, time.Millisecond))
	}
	return s.line.Take(fetch, work, wait, s.readCommand(wait))
}

func (s *consumer) readCommand(wait time.Duration) rueidis.Completed {
	read := s.c.conn.B().Xreadgroup().Group(s.sub.Group, s.c.cfg.Consumer).Count(int64(s.sub.Batch))
	if wait == 0 {
		return read.Streams().Key(s.sub.Stream).Id(">").Build()
	}
	return read.Block(max(1, wait.Milliseconds())).Streams().Key(s.sub.Stream).Id(">").Build()
}

// takeAll takes in batches, while the reader already waits for the next one.
func (s *consumer) takeAll(work context.Context) {
	for entries := range s.batches {
		s.take(work, entries)
	}
}

// take judges entries in hand, settles those that need no handler, and queues the rest.
func (s *consumer) take(work context.Context, entries []entry.Entry) {
	now, onBus := time.Now(), s.c.Now()
	jobs := make([]*job, 0, len(entries))
	room := make([]job, len(entries))
	for i, e := range entries {
		j := s.judge(&room[i], e, now, onBus)
		if j.handler == nil || j.refusal != nil {
			s.settle(j)
			continue
		}
		jobs = append(jobs, j)
	}
	s.refuseReplays(work, jobs)
	jobs = slices.DeleteFunc(jobs, func(j *job) bool {
		settled := j.refusal != nil || j.handler == nil
		if settled {
			s.settle(j)
		}
		return settled
	})
	s.dispatch(work, s.lanes.enter(jobs))
}

// dispatch offers jobs to as many workers as it can use. Once work is done,
// what nobody has begun stays pending.
func (s *consumer) dispatch(work context.Context, jobs []*job) {
	s.outbox.expect(len(jobs))
	l := &workload{jobs: jobs}
	for range min(len(jobs), s.sub.Concurrency) {
		select {
		case s.jobs <- l:
		case <-work.Done():
			return
		}
	}
}

// refuseReplays refuses the requests that this process knows to be replays, and
// then, for handlers with effects of their own, those that Redis knows: the
// marks of the whole batch in one command. A failure is no harm: the commit
// looks again.
func (s *consumer) refuseReplays(ctx context.Context, jobs []*job) {
	s.flights.claimMarks(jobs)
	for _, j := range jobs {
		if j.mark == "" || j.refusal != nil {
			continue
		}
		if holder := s.c.recent.Holder(j.mark); holder != "" && holder != j.id {
			j.refuseReplay(holder)
		}
	}
	if s.sub.AnswersOnly {
		return
	}
	var marks []string
	var marked []*job
	for _, j := range jobs {
		if j.mark != "" && j.refusal == nil {
			marks, marked = append(marks, j.mark), append(marked, j)
		}
	}
	if len(marks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.cfg.DialTimeout)
	defer cancel()
	for i, holder := range s.c.holders(ctx, marks) {
		switch {
		case holder == "":
		case holder != marked[i].id:
			marked[i].refuseReplay(holder)
		case !s.c.conn.Clustered:
			// Its own mark and its acknowledgement were one commit: it was done, and
			// the group lost since.
			marked[i].handler = nil
		}
	}
}

// holders looks up the entries that marks were set for: "" for a free one, and
// nothing at all when Redis does not answer.
func (c *Client) holders(ctx context.Context, marks []string) []string {
	holders := make([]string, len(marks))
	if c.conn.Clustered {
		commands := make(rueidis.Commands, len(marks))
		for i, mark := range marks {
			commands[i] = c.conn.B().Get().Key(mark).Build()
		}
		for i, reply := range c.conn.DoMulti(ctx, commands...) {
			holders[i], _ = reply.ToString()
		}
		return holders
	}
	replies, err := c.conn.Do(ctx, c.conn.B().Mget().Key(marks...).Build()).ToArray()
	if err != nil || len(replies) != len(marks) {
		return nil
	}
	for i, reply := range replies {
		holders[i], _ = reply.ToString()
	}
	return holders
}

func (j *job) refuseReplay(holder string) {
	j.refusal = deadletter.Refuse(deadletter.ReasonReplay, "request belongs to entry "+holder, j.delivery.Attempt)
}

// settle hands an entry without a handler run to the committer.
func (s *consumer) settle(j *job) { s.outbox.add(j.outcome()) }
