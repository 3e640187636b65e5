package delivery

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// pendingEntry is an entry of the group's pending list.
type pendingEntry struct {
	id, owner  string
	idle       time.Duration // since it was delivered, or its lease renewed
	deliveries int
	count      int           // that a claim is to set; 0: one delivery more
	guard      time.Duration // claim only when idle for at least this
}

// pendingList is the group's list of what was delivered and is not finished.
type pendingList struct {
	conn          *redis.Conn
	stream, group string
}

// page lists pending entries from start on: of one owner, or with "" of all.
func (s *pendingList) page(fetch context.Context, owner string, idle time.Duration, start string) ([]pendingEntry, error) {
	ctx, cancel := context.WithTimeout(fetch, s.conn.Timeout)
	defer cancel()
	args := []string{s.group}
	if idle > 0 {
		args = append(args, "IDLE", strconv.FormatInt(idle.Milliseconds(), 10))
	}
	args = append(args, start, "+", strconv.Itoa(pendingPage))
	if owner != "" {
		args = append(args, owner)
	}
	return s.read(s.conn.Do(ctx, s.list(args...)))
}

func (s *pendingList) list(args ...string) rueidis.Completed {
	return s.conn.B().Arbitrary("XPENDING").Keys(s.stream).Args(args...).Build()
}

func (s *pendingList) read(reply rueidis.RedisResult) ([]pendingEntry, error) {
	rows, err := reply.ToArray()
	if err != nil {
		return nil, fmt.Errorf("list pending of %s: %w", s.stream, err)
	}
	page := make([]pendingEntry, 0, len(rows))
	for _, row := range rows {
		p, err := parsePending(row)
		if err != nil {
			return nil, fmt.Errorf("list pending of %s: %w", s.stream, err)
		}
		page = append(page, p)
	}
	return page, nil
}

func parsePending(row rueidis.RedisMessage) (p pendingEntry, err error) {
	fields, err := row.ToArray()
	if err != nil {
		return p, err
	}
	if len(fields) != 4 {
		return p, fmt.Errorf("%d fields, 4 expected", len(fields))
	}
	if p.id, err = fields[0].ToString(); err != nil {
		return p, err
	}
	if p.owner, err = fields[1].ToString(); err != nil {
		return p, err
	}
	idle, err := fields[2].AsInt64()
	if err != nil {
		return p, err
	}
	p.idle = time.Duration(idle) * time.Millisecond
	deliveries, err := fields[3].AsInt64()
	p.deliveries = int(deliveries)
	return p, err
}

// of looks entries up in the pending list.
func (s *pendingList) of(ctx context.Context, ids []string) (map[string]pendingEntry, error) {
	commands := make(rueidis.Commands, len(ids))
	for i, id := range ids {
		commands[i] = s.list(s.group, id, id, "1")
	}
	held := make(map[string]pendingEntry, len(ids))
	for _, reply := range s.conn.DoMulti(ctx, commands...) {
		rows, err := s.read(reply)
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
func (s *pendingList) stored(ctx context.Context, ids []string) (map[string]bool, error) {
	commands := make(rueidis.Commands, len(ids))
	for i, id := range ids {
		commands[i] = s.conn.B().Xrange().Key(s.stream).Start(id).End(id).Build()
	}
	found := make(map[string]bool, len(ids))
	for i, reply := range s.conn.DoMulti(ctx, commands...) {
		entries, err := reply.ToArray()
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", ids[i], err)
		}
		found[ids[i]] = len(entries) > 0
	}
	return found, nil
}

// reconcile finds out why a claim did not give entries. What is another consumer's,
// or finished, is let go. What is our own stays in hand, and so does all that is pending for
// an exclusive consumer; it keeps what is behind it in its order waiting: an earlier claim
// took it and its reply was lost, or the clock of the server went back. What is no longer in the stream is lost.
func (s *consumer) reconcile(ctx context.Context, ids []string) error {
	held, err := s.pending.of(ctx, ids)
	if err != nil {
		return err
	}
	var open []string
	for _, id := range ids {
		if p, pending := held[id]; pending && p.owner != s.c.Consumer && !s.sub.Exclusive {
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
