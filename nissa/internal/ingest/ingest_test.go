package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("store is away")

// store is one of which tests say how it behaves.
type store struct {
	mu     sync.Mutex
	groups []int
	seen   map[string]bool
	took   time.Duration // of one transaction
	away   bool
	full   bool   // answers, and stores nothing
	poison string // entry that cannot be stored
}

func (s *store) Put(_ context.Context, messages []runs.Message) (fresh []bool, err error) {
	if s.took > 0 {
		<-time.After(s.took)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range messages {
		if s.away || s.full || m.Entry == s.poison {
			return nil, errAway
		}
	}
	s.groups = append(s.groups, len(messages))
	for _, m := range messages {
		fresh = append(fresh, !s.seen[m.Entry])
		s.seen[m.Entry] = true
	}
	return fresh, nil
}

func (s *store) Writable(context.Context) error {
	if s.away {
		return errAway
	}
	return nil
}

func take(g *Group, n int) (results []error) {
	var group sync.WaitGroup
	results = make([]error, n)
	for i := range n {
		group.Go(func() { _, results[i] = g.Take(context.Background(), runs.Message{Entry: fmt.Sprint(i)}) })
	}
	group.Wait()
	return results
}

func TestThoseThatWaitAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{took: time.Second, seen: map[string]bool{}}
		begun := time.Now()
		for i, err := range take(New(s), 100) {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if took := time.Since(begun); took > 2*time.Second || len(s.seen) != 100 {
			t.Errorf("%d messages took %s in groups of %v", len(s.seen), took, s.groups)
		}
		fresh, err := New(s).Take(t.Context(), runs.Message{Entry: "7"})
		if fresh || err != nil {
			t.Errorf("again: %v, %v", fresh, err)
		}
	})
}

func TestGroupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{took: time.Second, seen: map[string]bool{}}
		take(New(s), 3*maxGroup)
		for _, n := range s.groups {
			if n > maxGroup {
				t.Errorf("a group of %d", n)
			}
		}
		if len(s.seen) != 3*maxGroup {
			t.Errorf("%d messages", len(s.seen))
		}
	})
}

func TestMessageThatCannotBeStoredDrawsNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{took: time.Second, seen: map[string]bool{}, poison: "13"}
		for i, err := range take(New(s), 20) {
			if (err != nil) != (i == 13) || err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if _, err := New(s).Take(t.Context(), runs.Message{Entry: "13"}); !errors.Is(err, ErrRefused) {
			t.Errorf("alone: %v", err)
		}
	})
}

// When each fails though the store answers, it is not the messages: none of the others is tried.
func TestStoreThatFailsForAllIsNotAskedForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{took: time.Second, seen: map[string]bool{}, full: true}
		begun, refused := time.Now(), 0
		for i, err := range take(New(s), 100) {
			if err == nil {
				t.Errorf("%d: stored", i)
			}
			if errors.Is(err, ErrRefused) {
				refused++
			}
		}
		if took := time.Since(begun); took > 7*time.Second || refused > 5 {
			t.Errorf("took %s, %d are refused", took, refused)
		}
	})
}

func TestStoreThatIsAwayIsNotAskedForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{took: time.Second, seen: map[string]bool{}, away: true}
		begun := time.Now()
		for i, err := range take(New(s), 100) {
			if !errors.Is(err, errAway) || errors.Is(err, ErrRefused) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestWhoeverGivesUpBeforeIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{took: time.Second, seen: map[string]bool{}}
		g := New(s)
		var group sync.WaitGroup
		group.Go(func() { _, _ = g.Take(t.Context(), runs.Message{Entry: "first"}) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := g.Take(ctx, runs.Message{Entry: "second"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		group.Wait()
		if !s.seen["first"] || s.seen["second"] {
			t.Errorf("%v", s.seen)
		}
	})
}

func TestPanicOfTheStoreIsAnError(t *testing.T) {
	if _, err := New(nil).Take(t.Context(), runs.Message{}); err == nil {
		t.Error("no error")
	}
}

// Senders say how large a message is: those that would fill the memory do not go together.
func TestLargeMessagesAreWrittenAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{took: time.Second, seen: map[string]bool{}}
		g, long := New(s), strings.Repeat("x", 1<<20)
		var group sync.WaitGroup
		for i := range 40 {
			group.Go(func() {
				if _, err := g.Take(t.Context(), runs.Message{Entry: fmt.Sprint(i), Judge: long}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if largest := slices.Max(s.groups); largest > 8 || len(s.seen) != 40 {
			t.Errorf("%d messages in groups of %v", len(s.seen), s.groups)
		}
	})
}
