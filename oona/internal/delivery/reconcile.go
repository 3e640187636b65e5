package delivery

import (
	"context"
	"fmt"
	"time"
)

// reconcile finds out why a claim did not give entries. What is another consumer's,
// or finished, is let go. What is our own stays in hand, and keeps what is behind
// it in its order waiting: an earlier claim took it and its reply was lost, or the
// clock of the server went back. What is no longer in the stream is lost.
func (s *consumer) reconcile(ctx context.Context, ids []string) error {
	held, err := s.pending.of(ctx, ids)
	if err != nil {
		return err
	}
	var open []string
	for _, id := range ids {
		if p, pending := held[id]; pending && p.owner != s.c.Consumer {
			s.inflight.forget(id)
		} else {
			open = append(open, id)
		}
	}
	stored, err := s.pending.stored(ctx, open)
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
			s.inflight.again(p, time.Now())
		default:
			s.inflight.forget(id)
		}
	}
	return s.markLost(ctx, lost)
}

// markLost counts entries that were trimmed or deleted while they were pending,
// which nobody can handle any more. Not every server takes them off its list.
func (s *consumer) markLost(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	ack := s.c.Conn.B().Xack().Key(s.sub.Stream).Group(s.sub.Group).Id(ids...).Build()
	if err := s.c.Conn.Do(ctx, ack).Error(); err != nil {
		return fmt.Errorf("write off on %s: %w", s.sub.Stream, err)
	}
	if err := s.c.Lost(ctx, s.sub.Stream, s.sub.Group, len(ids)); err != nil {
		return err
	}
	for _, id := range ids {
		s.inflight.forget(id)
	}
	return nil
}
