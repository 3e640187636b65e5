package runrecord_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

// due is a decision that counts, and wants to be looked at again.
func due(at time.Time) runrecord.Decide[tally] {
	return func(r *tally) (runrecord.Outcome[tally], error) {
		outcome, err := counted()(r)
		outcome.Due = at
		return outcome, err
	}
}

func tick(t *testing.T, k *runrecord.Keeper[tally], now time.Time, decide runrecord.Decide[tally]) int {
	t.Helper()
	count, err := k.Tick(t.Context(), now, decide)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func TestRunIsLookedAtWhenItIsDue(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		k, now := keeper(s, &press{}, never, 0), time.Now()
		step(t, k, due(now.Add(time.Minute)))
		for _, look := range []struct {
			after time.Duration
			next  time.Duration // 0: not again
			want  int
		}{
			{0, 0, 0},
			{2 * time.Minute, 3 * time.Minute, 1}, // put back, for later
			{2 * time.Minute, 0, 0},
			{4 * time.Minute, 0, 1}, // for the last time
			{time.Hour, 0, 0},
		} {
			decide := due(time.Time{})
			if look.next > 0 {
				decide = due(now.Add(look.next))
			}
			if got := tick(t, k, now.Add(look.after), decide); got != look.want {
				t.Errorf("after %s: %d runs, want %d", look.after, got, look.want)
			}
		}
		wantCount(t, k, 3)
	})
}

func TestDueRunIsTakenUpByOneOfTwoKeepers(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		now := time.Now()
		keepers := []*runrecord.Keeper[tally]{keeper(s, &press{}, never, 0), keeper(s, &press{}, never, 0)}
		const runs = 100
		for i := range runs {
			if _, err := keepers[0].Step(t.Context(), fmt.Sprint("run-", i), due(now)); err != nil {
				t.Fatal(err)
			}
		}
		var ticking sync.WaitGroup
		var counting sync.Mutex
		total := 0
		for _, k := range keepers {
			ticking.Go(func() {
				for {
					count, err := k.Tick(t.Context(), now.Add(time.Second), due(time.Time{}))
					if err != nil {
						t.Error(err)
					}
					counting.Lock()
					total += count
					counting.Unlock()
					if count == 0 {
						return
					}
				}
			})
		}
		ticking.Wait()
		if total != runs {
			t.Errorf("%d looks at %d runs", total, runs)
		}
		wantCount(t, keepers[0], 2)
	})
}

func TestRunThatWasScheduledDuringItsTickStaysDue(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		k, now := keeper(s, &press{}, never, 0), time.Now()
		step(t, k, due(now))
		tick(t, k, now.Add(time.Second), func(r *tally) (runrecord.Outcome[tally], error) {
			if err := s.Schedule(t.Context(), part, testRun, now); err != nil {
				t.Error(err)
			}
			return due(time.Time{})(r)
		})
		if got := tick(t, k, now.Add(time.Minute), counted()); got != 1 {
			t.Errorf("%d runs are due", got)
		}
	})
}

func TestRunWithoutARecordLeavesTheIndex(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		k, now := keeper(s, &press{}, never, 0), time.Now()
		if err := s.Schedule(t.Context(), part, testRun, now); err != nil {
			t.Fatal(err)
		}
		decide := func(*tally) (runrecord.Outcome[tally], error) {
			t.Error("decided on nothing")
			return runrecord.Outcome[tally]{}, nil
		}
		if got := tick(t, k, now.Add(time.Second), decide); got != 1 {
			t.Errorf("%d runs", got)
		}
		if runs, err := k.Runs(t.Context(), "", 10); err != nil || len(runs) != 0 {
			t.Errorf("in the index: %v, %v", runs, err)
		}
	})
}

// A tick that fails must come again: the claim runs out.
func TestTickThatFailsComesAgain(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		k, now := keeper(s, &press{}, never, 0), time.Now()
		step(t, k, due(now))
		if _, err := k.Step(t.Context(), "run-2", due(now)); err != nil {
			t.Fatal(err)
		}
		var seen int
		count, err := k.Tick(t.Context(), now.Add(time.Second), func(*tally) (runrecord.Outcome[tally], error) {
			seen++
			return runrecord.Outcome[tally]{}, errCrash
		})
		if count != 2 || seen != 2 || !errors.Is(err, errCrash) {
			t.Errorf("%d runs, decided %d times, %v: one that fails must not keep the other from its tick", count, seen, err)
		}
		if got := tick(t, k, now.Add(time.Minute), due(time.Time{})); got != 2 {
			t.Errorf("%d runs come again", got)
		}
	})
}

func TestRunsAreListedInPages(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		k, now := keeper(s, &press{}, never, 0), time.Now()
		want := []string{"a", "b", "c/with a slash", "d", "e"}
		for _, run := range want {
			if _, err := k.Step(t.Context(), run, due(now)); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for after := ""; ; after = got[len(got)-1] {
			page, err := k.Runs(t.Context(), after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, page...); len(page) < 2 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("runs %q", got)
		}
		if record, err := k.Peek(t.Context(), "no such run"); record != nil || err != nil {
			t.Errorf("%v, %v", record, err)
		}
	})
}
