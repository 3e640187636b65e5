package delivery

import (
	"context"
	_ "embed"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

//go:embed giveback.lua
var giveBackSource string

// The script is immutable, as that of commits.
var giveBackScript = rueidis.NewLuaScript(giveBackSource)

const (
	// probePause is the longest pause between two looks for what is away, and between two
	// attempts of an entry that needs it.
	probePause = 500 * time.Millisecond
	// probeFirst is the first one.
	probeFirst = 50 * time.Millisecond
	// sufferMax is how long an entry may meet outages that others do not: one that is
	// real may well last for an hour.
	sufferMax = time.Hour
)

// Outage marks an error of a task as no fault of its entry: what the work needs is
// away. The entry is tried again until it is back, and none of its attempts is
// spent. Outage(nil) is nil.
func Outage(err error) error {
	if err == nil {
		return nil
	}
	return &outageError{err}
}

type outageError struct{ err error }

func (e *outageError) Error() string { return e.err.Error() }
func (e *outageError) Unwrap() error { return e.err }

// isOutage knows the bus's own outages, too, which a task meets that asks the bus for
// something.
func isOutage(err error) bool {
	var outage *outageError
	return errors.As(err, &outage) || errors.Is(err, redis.ErrUnavailable)
}

// suffer decides what an outage means for an entry whose task met it: all entries
// wait while something is away that all need, or this one alone. One that has waited for
// long, while others get what they need, is taken for the cause itself.
func (s *consumer) suffer(work context.Context, t *Task, err error) {
	if !s.gate.look(work) {
		s.bounce(t)
		return
	}
	if s.inflight.suffersAlone(t.id, time.Now()) {
		s.retry(t, err)
		return
	}
	if s.gate.handling.add(err, time.Now()) {
		s.log.Warn("an entry waits for what its handler needs", "entry", t.id, "error", err)
	}
	s.await(t.id, t.Mark, t.attempt)
	s.batcher.drop()
}

// await leaves an entry pending that is tried again soon, and as often as it takes:
// its next delivery counts no more than this one, but is not taken for the first.
func (s *consumer) await(id, mark string, attempt int) {
	now := time.Now()
	pause := min(retryPause(&s.c.Config, s.inflight.suffers(id, now)), probePause)
	s.inflight.postpone(id, mark, retry{attempts: attempt, count: max(2, attempt)}, now, pause)
}

// bounce gives a task back that is not run, or has met an outage.
func (s *consumer) bounce(t *Task) {
	if s.gate.refuse(t.id, t.attempt) {
		s.drop(t)
		return
	}
	s.await(t.id, t.Mark, t.attempt)
	s.batcher.drop()
}

// pause holds the reader up until all is there again that the handlers need. What was
// in hand goes back meanwhile.
func (s *consumer) pause(fetch, work context.Context) {
	since, cause := s.gate.shut()
	s.log.Warn("paused: what the handlers need is away", "error", cause)
	for wait := probeFirst; ; wait = min(2*wait, probePause) {
		begun := time.Now()
		s.store.giveBack(work, s.sub.Fence, s.gate.refused())
		if s.order != nil {
			// What waits for a retry keeps others waiting behind it. They come back together.
			s.inflight.leaveAll()
		}
		// Entries of one key must not overtake those that are in hand yet.
		if (s.order == nil || s.inflight.idle()) && s.gate.ask(fetch) == nil {
			break
		}
		// What is back is not waited for twice: a look that took long is followed at once.
		if !cadence.Sleep(fetch, max(wait-time.Since(begun), probeFirst)) {
			return
		}
	}
	s.store.giveBack(work, s.sub.Fence, s.gate.open())
	s.log.Info("goes on: what the handlers need is back", "after", time.Since(since).Round(time.Millisecond))
}

// giveBack lets others of the group, who may have what is away here, take over at
// once what was in hand, as if it had not been delivered here. Where that fails the
// entries are taken over later, or taken up here again.
func (s *store) giveBack(work context.Context, fence func(context.Context) error, byAttempt map[int][]string) {
	ctx, cancel := context.WithTimeout(work, s.c.Conn.Timeout)
	defer cancel()
	idle := strconv.FormatInt(max(0, s.c.ClaimIdle.Milliseconds()), 10)
	for count, ids := range byAttempt {
		for ids := range slices.Chunk(ids, pendingPage) {
			err := fence(ctx)
			if err == nil {
				args := append([]string{s.group, s.c.Consumer, idle, strconv.Itoa(max(1, count-1))}, ids...)
				err = giveBackScript.Exec(ctx, s.c.Conn, []string{s.stream}, args).Error()
			}
			if err != nil {
				s.c.Logger.Debug("entries not given back", "stream", s.stream, "entries", len(ids), "error", err)
			}
		}
	}
}
