package oona

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// pendingEntry is an entry of the group's pending list.
type pendingEntry struct {
	id, owner  string
	idle       time.Duration // since it was delivered, or its lease renewed
	deliveries int
	guard      time.Duration // claim only when idle for at least this
}

// pendingPage lists pending entries from start on: of one owner, or with "" of all.
func (s *consumer) pendingPage(fetch context.Context, owner string, idle time.Duration, start string) ([]pendingEntry, error) {
	ctx, cancel := context.WithTimeout(fetch, s.c.cfg.DialTimeout)
	defer cancel()
	args := []string{s.sub.Group}
	if idle > 0 {
		args = append(args, "IDLE", strconv.FormatInt(idle.Milliseconds(), 10))
	}
	args = append(args, start, "+", strconv.Itoa(pendingPage))
	if owner != "" {
		args = append(args, owner)
	}
	return s.readPending(s.c.conn.Do(ctx, s.listPending(args...)))
}

func (s *consumer) listPending(args ...string) rueidis.Completed {
	return s.c.conn.B().Arbitrary("XPENDING").Keys(s.sub.Stream).Args(args...).Build()
}

func (s *consumer) readPending(reply rueidis.RedisResult) ([]pendingEntry, error) {
	rows, err := reply.ToArray()
	if err != nil {
		return nil, fmt.Errorf("list pending of %s: %w", s.sub.Stream, err)
	}
	page := make([]pendingEntry, 0, len(rows))
	for _, row := range rows {
		p, err := parsePending(row)
		if err != nil {
			return nil, fmt.Errorf("list pending of %s: %w", s.sub.Stream, err)
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
