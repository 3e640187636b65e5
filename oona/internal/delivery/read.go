package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// read takes in new entries until fetch is done. Whatever fails, it starts over
// from the group and the own pending entries: a reply that was lost on the way
// leaves entries delivered to nobody.
func (s *consumer) read(fetch, work context.Context) {
	defer s.intake.Close()
	backoff := s.c.Conn.NewBackoff(s.log, &s.c.Counters.ReadFailures)
	defer backoff.Quit()
	begun, announced := false, false
	announce := func() {
		if !announced {
			announced = true
			s.sub.OnReady()
		}
	}
	for fetch.Err() == nil {
		if s.gate.closed.Load() {
			// It can do no more to be ready.
			announce()
			s.pause(fetch, work)
			begun = false
			continue
		}
		if s.inflight.crowded(s.sub.Batch) {
			announce()
			cadence.Sleep(fetch, probeFirst)
			continue
		}
		reading := begun
		err := s.readOnce(fetch, work, &begun, announced)
		if fetch.Err() != nil {
			break
		}
		if err != nil && s.gate.closed.Load() {
			continue
		}
		if err != nil {
			begun = false
			s.gate.reading.add(err, time.Now())
			s.c.Counters.ReadRefused.Add(1)
			backoff.Pause(fetch, err)
			continue
		}
		if !reading {
			// A beginning alone proves nothing: a read-only Redis, or one whose access
			// list has a gap, lists what is pending and refuses to be read.
			continue
		}
		backoff.Over()
		s.gate.reading.over()
		announce()
	}
	if begun {
		// The server may have answered the read that was just cut off.
		parting, cancel := s.c.Conn.Parting(work)
		defer cancel()
		_, _ = s.adopt(parting, work, 0) // what fails here is found by the next start
	}
}

// readOnce makes one step: the beginning, or one batch, for which it waits when it
// is patient.
func (s *consumer) readOnce(fetch, work context.Context, begun *bool, patient bool) error {
	if *begun {
		return s.readNew(fetch, work, begun, patient)
	}
	if err := s.sub.Fence(fetch); err != nil {
		return err
	}
	complete, err := s.begin(fetch, work)
	*begun = complete
	return err
}

func (s *consumer) readNew(fetch, work context.Context, begun *bool, patient bool) error {
	if err := s.sub.Fence(fetch); err != nil {
		return err
	}
	entries, readErr := s.next(fetch, work, patient)
	if len(entries) == 0 && (readErr != nil || !s.sub.Exclusive) {
		return readErr
	}
	if err := s.sub.Fence(fetch); err != nil {
		return err // they stay pending: this process may have been stopped while it waited for them
	}
	entries = s.inflight.begin(entries, time.Now())
	if s.sub.Exclusive {
		// The read of one who ceased to work a moment ago may still have been waiting on the
		// server, and been answered before this one.
		complete, err := s.adopt(fetch, work, 0)
		if complete {
			s.take(work, entries)
		} else {
			s.inflight.leavePending(entries)
		}
		*begun = complete
		return errors.Join(err, readErr)
	}
	if len(entries) > 0 {
		select {
		case s.batches <- entries:
		case <-work.Done():
		}
	}
	return readErr
}

// next waits for new entries while the gate is open. A gate that closes cuts off nothing
// else: of a claim that is cut off, Redis would count a delivery that nobody sees.
func (s *consumer) next(fetch, work context.Context, patient bool) ([]entry.Entry, error) {
	open, end := s.gate.whileOpen(fetch)
	defer end()
	if s.skipper.idle() {
		if wanted, err := s.skipper.skip(open, patient); err != nil || !wanted {
			return nil, err
		}
	}
	if s.order.awaitRoom(open); open.Err() != nil {
		return nil, nil
	}
	var wait time.Duration
	if patient {
		wait = s.c.Phase.Until(max(s.sub.Block, time.Millisecond))
	}
	return s.intake.next(open, work, wait)
}

// begin takes up what was in hand when the last one ended, and creates
// the group only when it is missing: a Redis that is out of memory refuses to
// create groups, even those that exist, but still serves them.
func (s *consumer) begin(fetch, work context.Context) (complete bool, err error) {
	complete, err = s.adopt(fetch, work, 0)
	if !redis.HasCode(err, "NOGROUP") {
		return complete, err
	}
	ctx, cancel := context.WithTimeout(fetch, s.c.Conn.Timeout)
	defer cancel()
	err = s.c.Conn.EnsureGroups(ctx, s.sub.Group, s.sub.Stream)
	return err == nil, err
}

func (s *consumer) readCommand(wait time.Duration, count int) rueidis.Completed {
	read := s.c.Conn.B().Xreadgroup().Group(s.sub.Group, s.c.Consumer).Count(int64(count))
	if wait == 0 {
		return read.Streams().Key(s.sub.Stream).Id(">").Build()
	}
	return read.Block(max(1, wait.Milliseconds())).Streams().Key(s.sub.Stream).Id(">").Build()
}

// What is decoded takes several times the memory of its entry, and waits for its handler.
const (
	handledBytes = 8 << 20 // most that is queued and handled at once, in bytes of entries
	takenBytes   = 2 << 20 // of the entries that are decoded together
)

// take decodes entries in parts, so that large ones do not fill the memory.
func (s *consumer) take(work context.Context, entries []entry.Entry) {
	for len(entries) > 0 && work.Err() == nil {
		n := together(entries)
		s.takePart(work, entries[:n])
		entries = entries[n:]
	}
}

// together is how many of the first entries are decoded at once.
func together(entries []entry.Entry) int {
	bytes := 0
	for i := range entries {
		if bytes += len(entries[i].Payload); bytes > takenBytes && i > 0 {
			return i
		}
	}
	return len(entries)
}

// takePart judges entries in hand, settles those that need no work, and queues the rest.
func (s *consumer) takePart(work context.Context, entries []entry.Entry) {
	now := time.Now()
	jobs := make([]*Task, 0, len(entries))
	tasks := make([]Task, len(entries))
	for i, e := range entries {
		t := &tasks[i]
		t.id, t.attempt, t.started, t.Exhausted = e.ID, e.Attempt, now, s.isPoison(e)
		t.Stored, t.bytes = entry.StoredAt(e.ID), int64(len(e.Payload))
	}
	s.sub.Judge(entries, tasks)
	for i := range tasks {
		t := &tasks[i]
		if t.Work == nil || t.Refusal != nil {
			s.settle(t)
			continue
		}
		jobs = append(jobs, t)
	}
	s.refuseReplays(work, jobs)
	jobs = slices.DeleteFunc(jobs, func(t *Task) bool {
		settled := t.Refusal != nil || t.Work == nil
		if settled {
			s.settle(t)
		}
		return settled
	})
	s.dispatch(work, s.order.enter(jobs))
}

// dispatch hands jobs to the workers.
func (s *consumer) dispatch(work context.Context, jobs []*Task) {
	s.batcher.expect(len(jobs))
	s.queue.offer(work, jobs)
}

// refuseReplays refuses the requests that this process knows to be replays, and
// then, for handlers with effects of their own, those that Redis knows: the
// marks of the whole batch in one command. A failure is no harm: the commit
// looks again.
func (s *consumer) refuseReplays(ctx context.Context, jobs []*Task) {
	s.inflight.claimMarks(jobs)
	s.c.Recent.View(func(holder func(mark string) string) {
		for _, t := range jobs {
			if t.Mark == "" || t.Refusal != nil {
				continue
			}
			if id := holder(t.Mark); id != "" && id != t.id {
				t.refuseReplay(id)
			}
		}
	})
	if s.sub.AnswersOnly {
		return
	}
	var marks []string
	var marked []*Task
	for _, t := range jobs {
		if t.Mark != "" && t.Refusal == nil {
			marks, marked = append(marks, t.Mark), append(marked, t)
		}
	}
	if len(marks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Conn.Timeout)
	defer cancel()
	for i, holder := range holders(ctx, s.c.Conn, marks) {
		switch {
		case holder == "":
		case holder != marked[i].id:
			marked[i].refuseReplay(holder)
		case !s.c.Conn.Clustered:
			// Its own mark and its acknowledgement were one commit: it was done, and
			// the group lost since.
			marked[i].Work = nil
		}
	}
}

// holders looks up the entries that marks were set for: "" for a free one, and
// nothing at all when Redis does not answer.
func holders(ctx context.Context, conn *redis.Conn, marks []string) []string {
	holders := make([]string, len(marks))
	if conn.Clustered {
		commands := make(rueidis.Commands, len(marks))
		for i, mark := range marks {
			commands[i] = conn.B().Get().Key(mark).Build()
		}
		for i, reply := range conn.DoMulti(ctx, commands...) {
			holders[i] = redis.Text(&reply)
		}
		return holders
	}
	replies, err := conn.Do(ctx, conn.B().Mget().Key(marks...).Build()).ToArray()
	if err != nil || len(replies) != len(marks) {
		return nil
	}
	for i, reply := range replies {
		holders[i] = redis.Text(&reply)
	}
	return holders
}

func (t *Task) refuseReplay(holder string) {
	t.Refusal = deadletter.Refuse(deadletter.ReasonReplay, "request belongs to entry "+holder, t.attempt)
}

// settle hands an entry without a handler run to the committer.
func (s *consumer) settle(t *Task) { s.batcher.add(t.outcome()) }
