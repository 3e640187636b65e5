package oona

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// resolve finds out why a claim did not give entries. What is another consumer's,
// or finished, is let go. What is our own stays in hand, and keeps what is behind
// it in its lane waiting: an earlier claim took it and its reply was lost, or the
// clock of the server went back. What is no longer in the stream is lost.
func (s *consumer) resolve(ctx context.Context, ids []string) error {
	held, err := s.pendingOf(ctx, ids)
	if err != nil {
		return err
	}
	var open []string
	for _, id := range ids {
		if p, pending := held[id]; pending && p.owner != s.c.cfg.Consumer {
			s.flights.forget(id)
		} else {
			open = append(open, id)
		}
	}
	stored, err := s.stored(ctx, open)
	if err != nil {
		return err
	}
	var lost []string
	for _, id := range open {
		p, pending := held[id]
		switch {
		case !stored[id]:
			lost = append(lost, id)
		case pending:
			s.flights.again(p, time.Now())
		default:
			s.flights.forget(id)
		}
	}
	return s.writeOff(ctx, lost)
}

// pendingOf looks entries up in the pending list.
func (s *consumer) pendingOf(ctx context.Context, ids []string) (map[string]pendingEntry, error) {
	commands := make(rueidis.Commands, len(ids))
	for i, id := range ids {
		commands[i] = s.listPending(s.sub.Group, id, id, "1")
	}
	held := make(map[string]pendingEntry, len(ids))
	for _, reply := range s.c.conn.DoMulti(ctx, commands...) {
		rows, err := s.readPending(reply)
		if err != nil {
			return nil, err
		}
		for _, p := range rows {
			held[p.id] = p
		}
	}
	return held, nil
}

// stored tells which entries are still in the stream.
func (s *consumer) stored(ctx context.Context, ids []string) (map[string]bool, error) {
	commands := make(rueidis.Commands, len(ids))
	for i, id := range ids {
		commands[i] = s.c.conn.B().Xrange().Key(s.sub.Stream).Start(id).End(id).Build()
	}
	found := make(map[string]bool, len(ids))
	for i, reply := range s.c.conn.DoMulti(ctx, commands...) {
		entries, err := reply.ToArray()
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", ids[i], err)
		}
		found[ids[i]] = len(entries) > 0
	}
	return found, nil
}

// writeOff counts entries that were trimmed or deleted while they were pending,
// which nobody can handle any more. Not every server takes them off its list.
func (s *consumer) writeOff(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	ack := s.c.conn.B().Xack().Key(s.sub.Stream).Group(s.sub.Group).Id(ids...).Build()
	if err := s.c.conn.Do(ctx, ack).Error(); err != nil {
		return fmt.Errorf("write off on %s: %w", s.sub.Stream, err)
	}
	if err := s.c.admission.Lost(ctx, s.sub.Stream, s.sub.Group, len(ids)); err != nil {
		return err
	}
	for _, id := range ids {
		s.flights.forget(id)
	}
	return nil
}
