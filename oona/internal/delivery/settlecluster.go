package delivery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
)

// In a cluster the keys of a commit live on different nodes, and no script can
// hold them together. The steps go in the order that can only ever repeat
// something: the mark first, then answers and dead letters, the acknowledgement
// last. A crash in between brings the entry back: its own mark lets it in, and
// its answers are published a second time.

// runSteps settles outcomes without a script, with the results of commit.lua.
func (s *store) runSteps(ctx context.Context, batch []outcome) (settled, error) {
	came := settled{results: slices.Repeat([]int64{commitDone}, len(batch))}
	marked, err := s.markFirst(ctx, batch, came.results)
	if err != nil {
		return settled{}, err
	}
	if err := s.storeAll(ctx, marked, &came); err != nil {
		return settled{}, err
	}
	return came, s.acknowledgeDone(ctx, batch, came.results)
}

// markFirst takes the marks, and turns outcomes whose mark is another entry's
// into refusals. It leaves the batch as it is.
func (s *store) markFirst(ctx context.Context, batch []outcome, results []int64) ([]outcome, error) {
	marked := append([]outcome(nil), batch...)
	var commands rueidis.Commands
	var places []int
	for i, o := range batch {
		if o.mark == "" || o.refusal != nil {
			continue
		}
		places = append(places, i)
		commands = append(commands, s.c.Conn.B().Set().Key(o.mark).Value(o.id).Nx().PxMilliseconds(verify.MarkLife.Milliseconds()).Build(),
			s.c.Conn.B().Get().Key(o.mark).Build())
	}
	if len(commands) == 0 {
		return marked, nil
	}
	replies := s.c.Conn.DoMulti(ctx, commands...)
	for n, i := range places {
		if err := replies[2*n].Error(); err != nil && !rueidis.IsRedisNil(err) {
			return nil, fmt.Errorf("mark request: %w", err)
		}
		holder, err := replies[2*n+1].ToString()
		if err != nil {
			return nil, fmt.Errorf("look up mark: %w", err)
		}
		if holder != batch[i].id {
			marked[i].answers = nil
			marked[i].refusal = deadletter.Refuse(deadletter.ReasonReplay, "request was answered for entry "+holder, batch[i].attempt)
			results[i] = commitReplay
		}
	}
	return marked, nil
}

// storeAll publishes answers and dead letters.
func (s *store) storeAll(ctx context.Context, batch []outcome, came *settled) error {
	refused, err := s.refusedEntries(ctx, batch)
	if err != nil {
		return err
	}
	var commands rueidis.Commands
	var owners []int
	for i, o := range batch {
		if o.refusal != nil {
			commands, owners = append(commands, s.deadLetter(o, refused[o.id])), append(owners, i)
		}
		for _, answer := range o.answers {
			add := s.c.Conn.Add(answer.Stream, s.c.MaxLength, answer.Payload, answer.Signature)
			commands, owners = append(commands, add), append(owners, i)
		}
	}
	if len(commands) == 0 {
		return nil
	}
	for n, reply := range s.c.Conn.DoMulti(ctx, commands...) {
		err := reply.Error()
		if _, answered := rueidis.IsRedisErr(err); answered {
			came.results[owners[n]], came.unstored = commitUnstored, err
		} else if err != nil {
			return fmt.Errorf("store what came of %s: %w", batch[owners[n]].id, err)
		}
	}
	return nil
}

// refusedEntries reads the entries of a batch that become dead letters: all in
// one pipeline, so that a distant server does not make a commit outlast its time.
// An entry that is gone is missing.
func (s *store) refusedEntries(ctx context.Context, batch []outcome) (map[string]map[string]string, error) {
	var commands rueidis.Commands
	for _, o := range batch {
		if o.refusal != nil {
			commands = append(commands, s.c.Conn.B().Xrange().Key(s.stream).Start(o.id).End(o.id).Build())
		}
	}
	if len(commands) == 0 {
		return nil, nil
	}
	entries := make(map[string]map[string]string, len(commands))
	for _, reply := range s.c.Conn.DoMulti(ctx, commands...) {
		found, err := reply.AsXRange()
		if err != nil {
			return nil, fmt.Errorf("look for refused entries of %s: %w", s.stream, err)
		}
		for _, e := range found {
			entries[e.ID] = e.FieldValues
		}
	}
	return entries, nil
}

// deadLetter is the command that keeps a refused entry as a dead letter.
func (s *store) deadLetter(o outcome, fields map[string]string) rueidis.Completed {
	payload, signature := fields[entry.Payload], fields[entry.Signature]
	limit := s.c.Sealer.MaxPayload
	return s.c.Conn.B().Xadd().Key(s.c.DeadLetter).Maxlen().Almost().Threshold(s.c.MaxLength).Id("*").
		FieldValue().FieldValue(entry.Payload, payload[:min(len(payload), limit)]).
		FieldValue(entry.Signature, signature[:min(len(signature), limit)]).
		FieldValue("origin_stream", s.stream).FieldValue("entry_id", o.id).FieldValue("group", s.group).
		FieldValue("reason", o.refusal.Reason).FieldValue("error", o.refusal.Err).
		FieldValue("attempts", strconv.Itoa(o.refusal.Attempts)).FieldValue("time", strconv.FormatInt(time.Now().UnixMilli(), 10)).Build()
}

func (s *store) acknowledgeDone(ctx context.Context, batch []outcome, results []int64) error {
	var ids []string
	for i, o := range batch {
		if results[i] != commitUnstored {
			ids = append(ids, o.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	command := s.c.Conn.B().Xack().Key(s.stream).Group(s.group).Id(ids...).Build()
	if err := s.c.Conn.Do(ctx, command).Error(); err != nil {
		return fmt.Errorf("acknowledge on %s: %w", s.stream, err)
	}
	return nil
}
