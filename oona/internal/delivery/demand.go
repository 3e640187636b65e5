package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// Demand says whether anybody waits for what a subscription brings.
type Demand struct {
	Exists    func() bool                         // must answer at once
	Elsewhere func(context.Context) (bool, error) // of other consumers of the group; nil: there are none
	Raised    <-chan struct{}                     // look again
}

// skipper moves the group past what nobody waits for. It is the reader's own.
type skipper struct {
	conn  *redis.Conn
	log   *slog.Logger
	sub   *Subscription
	phase cadence.Phase
	// unskippable: the bus cannot move the group.
	unskippable bool
}

// idle reports whether there is nothing to read for.
func (s *skipper) idle() bool {
	return s.sub.Demand != nil && !s.unskippable && !s.sub.Demand.Exists()
}

// skip moves the group to the end of the stream and, when it is patient, waits
// until there may be demand again. wanted says that it did not, because another
// consumer of the group waits for what is there.
func (s *skipper) skip(fetch context.Context, patient bool) (wanted bool, err error) {
	wanted, err = s.skipToEnd(fetch)
	if err != nil || wanted || !patient || !s.idle() {
		return wanted, err
	}
	timer := time.NewTimer(s.phase.Until(max(s.sub.Block, time.Millisecond)))
	defer timer.Stop()
	select {
	case <-s.sub.Demand.Raised:
	case <-timer.C:
	case <-fetch.Done():
	}
	return false, nil
}

// skipToEnd moves the group past what is there now. The place is looked up
// before the demand is: an answer to whatever is asked for after that lies
// behind the place.
func (s *skipper) skipToEnd(fetch context.Context) (wanted bool, err error) {
	ctx, cancel := context.WithTimeout(fetch, s.conn.Timeout)
	defer cancel()
	stream, err := s.conn.Stream(ctx, s.sub.Stream)
	if err != nil || !s.idle() {
		return false, err
	}
	if ask := s.sub.Demand.Elsewhere; ask != nil {
		if wanted, err := ask(ctx); err != nil || wanted {
			return wanted, err
		}
	}
	err = s.conn.Do(ctx, s.moveTo(stream)).Error()
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

func (s *skipper) moveTo(end redis.StreamInfo) rueidis.Completed {
	move := s.conn.B().XgroupSetid().Key(s.sub.Stream).Group(s.sub.Group).Id(end.LastID)
	if end.Added == 0 { // by a server that does not count
		return move.Build()
	}
	return move.Entriesread(end.Added).Build() // or it loses count of the lag
}
