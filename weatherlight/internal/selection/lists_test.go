package selection

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// works is a compiler whose surveys take a while.
type works struct {
	surveys, atWork atomic.Int64
	crowded         atomic.Bool // more were at work than may be
	takes           time.Duration
}

func (w *works) makers() makers {
	return makers{
		survey: func(ctx context.Context, _ []int) ([]tezzeret.Candidate, error) {
			w.surveys.Add(1)
			now := w.atWork.Add(1)
			defer w.atWork.Add(-1)
			if now > maxSurveyors {
				w.crowded.Store(true)
			}
			select {
			case <-time.After(w.takes):
				return []tezzeret.Candidate{{BlueprintID: "BP001"}}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		find: func(_ context.Context, slot []int, surveyed []tezzeret.Candidate) ([]tamiyo.Candidate, error) {
			return []tamiyo.Candidate{{BlueprintID: surveyed[0].BlueprintID, ParameterCount: slot[0]}}, nil
		},
	}
}

// look is what a decision on a run gets, which has little time.
func look(ctx context.Context, l *lists, run string, slot []int) error {
	step, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	found, err := l.get(step, run, slot)
	if err == nil && (len(found) != 1 || found[0].ParameterCount != slot[0]) {
		return fmt.Errorf("%v for %v", found, slot)
	}
	return err
}

// One instance carries a thousand runs, each with shapes of its own.
func TestSweepOfAThousandRunsHasCandidatesForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &works{takes: 35 * time.Millisecond}
		l := newLists(w.makers())
		defer l.close()
		const runs = 1000
		slots := func(run int) [2][]int { return [2][]int{{64 + run}, {16, 64 + run}} }
		round := func(do func(run string, slot []int)) {
			for i := range runs {
				for _, slot := range slots(i) {
					do(fmt.Sprint("run-", i), slot)
				}
				time.Sleep(2 * time.Millisecond) // each run reports every two seconds
			}
		}
		for range 40 {
			round(func(run string, slot []int) { l.make(run, slot, prepareEvery) })
		}
		round(func(run string, slot []int) {
			if err := look(t.Context(), l, run, slot); err != nil {
				t.Errorf("%s, %v: %v", run, slot, err)
			}
		})
		if got := w.surveys.Load(); got != 2*runs {
			t.Errorf("%d surveys for %d shapes", got, 2*runs)
		}
		if w.crowded.Load() {
			t.Errorf("more than %d surveys at a time", maxSurveyors)
		}
	})
}

// Sequences of ever new lengths are one run's own affair.
func TestRunOfEverNewShapesKeepsNoOtherFromGrowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &works{takes: 1300 * time.Millisecond}
		l := newLists(w.makers())
		defer l.close()
		victim := []int{64, 8, 8}
		if _, err := l.get(t.Context(), "victim", victim); err != nil {
			t.Fatal(err)
		}
		before := runtime.NumGoroutine()
		late := 0
		for i := range 20_000 { // twenty reports a second
			l.make("restless", []int{i + 2, 64}, prepareEvery)
			l.make("restless", []int{i + 2, 96}, prepareEvery)
			time.Sleep(50 * time.Millisecond)
			if i%20 != 0 {
				continue
			}
			if err := look(t.Context(), l, "victim", victim); err != nil {
				t.Fatalf("after %d reports: %v", i, err)
			}
			if more := runtime.NumGoroutine() - before; more > maxSurveyors+listers {
				t.Fatalf("%d goroutines more", more)
			}
			if i%1000 == 0 { // another run begins, and has its turn
				newcomer := fmt.Sprint("newcomer-", i)
				l.make(newcomer, []int{7, 7, i + 1}, prepareEvery)
				time.Sleep(4 * time.Second)
				if look(t.Context(), l, newcomer, []int{7, 7, i + 1}) != nil {
					late++
				}
			}
		}
		if late > 0 {
			t.Errorf("%d of 20 newcomers had no candidates after three surveys of others", late)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if own := l.own("restless"); own > maxOwnLists || len(l.of) > maxOwnLists+30 {
			t.Errorf("%d lists of its own are remembered, %d in all", own, len(l.of))
		}
	})
}

// What many use stays when there is no room for all.
func TestShapeThatWasNotUsedForLongestMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &works{}
		l := newLists(w.makers())
		defer l.close()
		shared := []int{1, 1, 1}
		for i := range maxLists + 500 {
			for _, slot := range [][]int{shared, {i + 1}} {
				if _, err := l.get(t.Context(), fmt.Sprint(i), slot); err != nil {
					t.Fatal(err)
				}
			}
		}
		if want := int64(maxLists + 501); w.surveys.Load() != want {
			t.Errorf("%d surveys, want %d", w.surveys.Load(), want)
		}
		if len(l.of) != maxLists || len(l.asked) > 0 || l.own("") != 1 {
			t.Errorf("%d lists, %d asked, %d shared", len(l.of), len(l.asked), l.own(""))
		}
		if err := look(t.Context(), l, "late", shared); err != nil {
			t.Error(err)
		}
	})
}

// A survey that was stopped is no survey.
func TestSurveyThatFailedIsMadeAgain(t *testing.T) {
	failing := errors.New("failing")
	var fails atomic.Bool
	fails.Store(true)
	makers := new(works).makers()
	survey := makers.survey
	makers.survey = func(ctx context.Context, slot []int) ([]tezzeret.Candidate, error) {
		if fails.Load() {
			return nil, failing
		}
		return survey(ctx, slot)
	}
	l := newLists(makers)
	defer l.close()
	if _, err := l.get(t.Context(), "run", []int{5}); !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
	fails.Store(false)
	if found, err := l.get(t.Context(), "run", []int{5}); len(found) != 1 || err != nil {
		t.Errorf("%v, %v", found, err)
	}
}
