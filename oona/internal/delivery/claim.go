package delivery

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// pendingPage is how many pending entries are looked at, or claimed, at once.
const pendingPage = 100

// orphanPeriod is how often, and after which idle time, own entries are looked
// for that this consumer never received: far longer than a reply is under way.
// It is the last resort: a reader that lost a reply starts over by itself.
const orphanPeriod = 5 * time.Second

// reclaimLoop brings entries back: those whose retry is due, and on a timer those of
// consumers that are gone. An exclusive consumer's reader takes the latter in.
func (s *consumer) reclaimLoop(fetch, work context.Context) {
	var leases sync.WaitGroup
	leases.Go(func() { s.keepalive(fetch) })
	defer leases.Wait()
	scan := s.c.Phase.NewTimer(claimPeriod(s.c.ClaimIdle))
	defer scan.Stop()
	orphans := s.c.Phase.NewTimer(orphanPeriod)
	defer orphans.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	seen := 0
	for s.gate.pass(fetch) {
		departed, known, more := s.c.takeovers.since(seen)
		pause := time.Hour
		if s.takeOver(fetch, work, departed) {
			seen = known
		} else {
			pause = probePause
		}
		timer.Reset(min(pause, untilNext(s.retryDue(fetch, work))))
		select {
		case <-fetch.Done():
			return
		case <-more:
		case <-s.inflight.wake:
		case <-timer.C:
		case <-scan.C:
			s.scanPending(fetch, work)
			scan.Again()
		case <-orphans.C:
			if !s.sub.Exclusive {
				if _, err := s.adopt(fetch, work, orphanPeriod); err != nil && fetch.Err() == nil {
					s.log.Debug("scan of own entries failed", "error", err)
				}
			}
			orphans.Again()
		}
	}
}

func claimPeriod(idle time.Duration) time.Duration {
	if idle < 0 {
		return time.Hour
	}
	return min(max(idle/4, 20*time.Millisecond), 15*time.Second)
}

func untilNext(next time.Time) time.Duration {
	if next.IsZero() {
		return time.Hour
	}
	// Not below a millisecond: a due entry that cannot be claimed now must not
	// make a hot loop.
	return max(time.Until(next), time.Millisecond)
}

// retryDue takes in the entries whose pause is over, and returns when to look
// again.
func (s *consumer) retryDue(fetch, work context.Context) time.Time {
	ready, next := s.inflight.due(time.Now(), pendingPage)
	if len(ready) == 0 {
		return next
	}
	groups := make(map[terms][]pendingEntry)
	for _, p := range ready {
		groups[terms{p.guard, p.count}] = append(groups[terms{p.guard, p.count}], p)
	}
	for on, entries := range groups {
		if err := s.reclaim(fetch, work, entries, on); err != nil {
			// The bus is down or the group is gone, which the reader reports.
			return time.Now().Add(redis.PauseMax / 2)
		}
	}
	return time.Now()
}

// adopt takes in what Redis believes this consumer has in hand and it has not:
// work of an earlier run, and replies that went to a connection that was gone. What anybody
// else has in hand is its own, too, when it is exclusive.
func (s *consumer) adopt(fetch, work context.Context, idle time.Duration) (complete bool, err error) {
	owner := s.c.Consumer
	if s.sub.Exclusive {
		owner = ""
	}
	return s.eachPending(fetch, work, owner, idle)
}

// scanPending takes over the entries nobody has touched for ClaimIdle.
func (s *consumer) scanPending(fetch, work context.Context) {
	idle := s.c.ClaimIdle
	if idle < 0 || s.sub.Exclusive {
		return
	}
	if _, err := s.eachPending(fetch, work, "", idle); err != nil && fetch.Err() == nil {
		s.log.Debug("claim scan failed", "error", err)
	}
}

// eachPending takes in what is pending of an owner, or with "" of all. It is not complete
// when it ends before that, because nothing more can be finished now.
func (s *consumer) eachPending(fetch, work context.Context, owner string, idle time.Duration) (complete bool, err error) {
	start := "-"
	for fetch.Err() == nil && !s.gate.closed.Load() && !s.inflight.crowded(s.sub.Batch) {
		page, err := s.pending.page(fetch, owner, idle, start)
		if err != nil || len(page) == 0 {
			return err == nil, err
		}
		last, err := entry.ParseID(page[len(page)-1].id)
		if err != nil {
			return false, err
		}
		start = last.Next().String() // not every bus knows "(" here
		full := len(page) == pendingPage
		page = slices.DeleteFunc(page, func(p pendingEntry) bool { return s.inflight.known(p.id) })
		plain, suspects := s.separate(page, idle)
		s.inflight.isolate(suspects, time.Now())
		if err := s.reclaim(fetch, work, plain, terms{guard: idle}); err != nil {
			return false, err
		}
		if !full {
			return true, nil
		}
	}
	return false, nil
}

// separate splits entries into those that are taken up together and suspects: one that
// was delivered so often without an outcome is tried alone from now on, for only then
// does a crash tell which entry was the cause. Keyed deliveries run one at a time by
// themselves.
func (s *consumer) separate(page []pendingEntry, guard time.Duration) (plain, suspects []pendingEntry) {
	for _, p := range page {
		if p.deliveries >= s.c.RetryAttempts && s.order == nil {
			p.guard = guard
			suspects = append(suspects, p)
		} else {
			plain = append(plain, p)
		}
	}
	return plain, suspects
}

// terms are those of a claim.
type terms struct {
	guard time.Duration // only what was idle for so long
	count int           // of deliveries that it sets; 0: one more
}

// reclaim makes entries ours and takes them in as their next attempt.
func (s *consumer) reclaim(fetch, work context.Context, entries []pendingEntry, on terms) error {
	if len(entries) == 0 {
		return nil
	}
	if err := s.sub.Fence(fetch); err != nil {
		return err
	}
	attempts := make(map[string]int, len(entries))
	ids := make([]string, len(entries))
	for i, p := range entries {
		ids[i] = p.id
		attempts[p.id] = cmp.Or(on.count, p.deliveries+1)
	}
	slices.SortFunc(ids, entry.Compare)
	ctx, cancel := context.WithTimeout(fetch, s.c.Conn.Timeout)
	defer cancel()
	claim := s.c.Conn.B().Xclaim().Key(s.sub.Stream).Group(s.sub.Group).Consumer(s.c.Consumer).
		MinIdleTime(strconv.FormatInt(on.guard.Milliseconds(), 10)).Id(ids...)
	command := claim.Build
	if on.count > 0 {
		command = claim.Retrycount(int64(on.count)).Build
	}
	replies, err := s.c.Conn.Do(ctx, command()).ToArray()
	if err != nil {
		return fmt.Errorf("claim on %s: %w", s.sub.Stream, err)
	}
	claimed := make([]entry.Entry, 0, len(replies))
	for _, reply := range replies {
		// An old server answers nil for an entry that was deleted.
		if e, err := entry.Parse(reply); err == nil {
			e.Attempt = attempts[e.ID]
			claimed = append(claimed, e)
			delete(attempts, e.ID)
		}
	}
	taken := s.inflight.begin(claimed, time.Now())
	err = s.reconcile(ctx, slices.Sorted(maps.Keys(attempts)))
	s.take(work, taken) // this may wait for the handlers: what has a bound comes before
	return err
}

// keepalive renews the leases on entries whose handlers take long, so that
// nobody takes them for abandoned. It does nothing else, so that nothing holds it up.
func (s *consumer) keepalive(fetch context.Context) {
	idle := s.c.ClaimIdle
	if idle < 0 {
		return
	}
	renewal := s.c.Phase.NewTimer(claimPeriod(idle))
	defer renewal.Stop()
	for {
		select {
		case <-fetch.Done():
			return
		case <-renewal.C:
			s.renew(fetch, s.inflight.olderThan(time.Now().Add(-idle/3)))
			renewal.Again()
		}
	}
}

// renew renews leases. It does not count as a delivery.
func (s *consumer) renew(fetch context.Context, ids []string) {
	if len(ids) == 0 || s.sub.Fence(fetch) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(fetch, s.c.Conn.Timeout)
	defer cancel()
	command := s.c.Conn.B().Xclaim().Key(s.sub.Stream).Group(s.sub.Group).Consumer(s.c.Consumer).
		MinIdleTime("0").Id(ids...).Justid().Build()
	if err := s.c.Conn.Do(ctx, command).Error(); err != nil && fetch.Err() == nil {
		s.log.Debug("lease not renewed", "entries", len(ids), "error", err)
	}
}
