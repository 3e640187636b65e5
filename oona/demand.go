package oona

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// Demand says whether anybody waits for what a subscription brings. While
// nobody does, the subscription skips what is published instead of reading it:
// of the answers on a shared stream, most are to somebody else's requests. It is
// safe for concurrent use.
type Demand struct {
	exists    func() bool
	elsewhere func(context.Context) (bool, error)
	raised    chan struct{}
}

// NewDemand asks exists, which must answer at once, before each read. When
// several consumers share the group, elsewhere says whether any of them waits;
// it is asked before anything is skipped, and whoever waits must have said so
// before it asks for what it waits for. Nil: the group is this consumer's alone.
func NewDemand(exists func() bool, elsewhere func(context.Context) (bool, error)) *Demand {
	return &Demand{exists: exists, elsewhere: elsewhere, raised: make(chan struct{}, 1)}
}

// Raise makes the subscription look again at once. Whoever asks for something
// calls it when exists already says so and the request is not published yet:
// then no answer is skipped, and none waits for the next look.
func (d *Demand) Raise() { signal(d.raised) }

// idle reports whether there is nothing to read for.
func (s *consumer) idle() bool {
	return s.sub.Demand != nil && !s.unskippable && !s.sub.Demand.exists()
}

// skip moves the group to the end of the stream and, when it is patient, waits
// until there may be demand again. wanted says that it did not, because another
// consumer of the group waits for what is there.
func (s *consumer) skip(fetch context.Context, patient bool) (wanted bool, err error) {
	wanted, err = s.skipToEnd(fetch)
	if err != nil || wanted || !patient || !s.idle() {
		return wanted, err
	}
	timer := time.NewTimer(s.c.phase.Until(max(s.sub.Block, time.Millisecond)))
	defer timer.Stop()
	select {
	case <-s.sub.Demand.raised:
	case <-timer.C:
	case <-fetch.Done():
	}
	return false, nil
}

// skipToEnd moves the group past what is there now. The place is looked up
// before the demand is: an answer to whatever is asked for after that lies
// behind the place.
func (s *consumer) skipToEnd(fetch context.Context) (wanted bool, err error) {
	ctx, cancel := context.WithTimeout(fetch, s.c.cfg.DialTimeout)
	defer cancel()
	stream, err := s.c.conn.Stream(ctx, s.sub.Stream)
	if err != nil || !s.idle() {
		return false, err
	}
	if ask := s.sub.Demand.elsewhere; ask != nil {
		if wanted, err := ask(ctx); err != nil || wanted {
			return wanted, err
		}
	}
	err = s.c.conn.Do(ctx, s.moveTo(stream)).Error()
	if refusesForGood(err) {
		s.log.Debug("the bus does not skip: every entry is read", "error", err)
		s.unskippable = true
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("skip on %s: %w", s.sub.Stream, err)
	}
	return false, nil
}

// refusesForGood tells a server that does not know a command, or may not be given
// it, from one that fails.
func refusesForGood(err error) bool {
	reply, refused := rueidis.IsRedisErr(err)
	return refused && (strings.HasPrefix(reply.Error(), "NOPERM") ||
		strings.Contains(reply.Error(), "not supported") || strings.Contains(strings.ToLower(reply.Error()), "unknown"))
}

func (s *consumer) moveTo(end redis.StreamInfo) rueidis.Completed {
	move := s.c.conn.B().XgroupSetid().Key(s.sub.Stream).Group(s.sub.Group).Id(end.LastID)
	if end.Added == 0 { // by a server that does not count
		return move.Build()
	}
	return move.Entriesread(end.Added).Build() // or it loses count of the lag
}
