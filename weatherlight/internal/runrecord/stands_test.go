package runrecord_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

// refusing is a store that refuses the next writes, one for each error.
type refusing struct {
	runrecord.Store

	errs []error
}

func (r *refusing) Save(ctx context.Context, write oona.RecordWrite) (int64, error) {
	if len(r.errs) == 0 {
		return r.Store.Save(ctx, write)
	}
	err := r.errs[0]
	r.errs = r.errs[1:]
	return 0, err
}

func TestOutcomeStandsOnceItIsStoredOrThereWasNothingToStore(t *testing.T) {
	conflict := &oona.ConflictError{}
	onBothBuses(t, func(t *testing.T, s *store) {
		for _, row := range []struct {
			name   string
			errs   []error
			empty  bool
			failed bool
			stands []int // which decisions of the message
		}{
			{"stored", nil, false, false, []int{1}},
			{"nothing to store", nil, true, false, []int{1}},
			{"stored after conflicts", []error{conflict, conflict}, false, false, []int{3}},
			{"not stored", []error{errCrash}, false, true, nil},
			{"not stored after a conflict", []error{conflict, errCrash}, false, true, nil},
			{"too large", []error{fmt.Errorf("x: %w", oona.ErrTooLarge)}, false, true, nil},
		} {
			k := keeper(&refusing{Store: s, errs: row.errs}, &press{}, never, 0)
			decided, stands := 0, []int(nil)
			_, err := k.Step(t.Context(), row.name, func(r *tally) (runrecord.Outcome[tally], error) {
				outcome, err := counted()(r)
				if row.empty {
					outcome = runrecord.Outcome[tally]{}
				}
				decided++
				number := decided
				outcome.Stands = func() { stands = append(stands, number) }
				return outcome, err
			})
			if (err != nil) != row.failed || !slices.Equal(stands, row.stands) {
				t.Errorf("%s: decisions %v stand, %v", row.name, stands, err)
			}
		}
	})
}

// A process that was told that its outputs could not be published has decided all the same.
func TestOutcomeStandsWhoseOutputsAreNotPublishedYet(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		stood := false
		k := keeper(s, &press{fails: func() error { return errCrash }}, never, 0)
		_, err := k.Step(t.Context(), testRun, func(r *tally) (runrecord.Outcome[tally], error) {
			outcome, err := counted(runrecord.Output{Payload: &leyline.FieldReport{ReportId: "report-1"}})(r)
			outcome.Stands = func() { stood = true }
			return outcome, err
		})
		if !errors.Is(err, errCrash) || !stood {
			t.Errorf("it stands: %v, %v", stood, err)
		}
	})
}

func TestTickOfARunThatCannotBeStoredIsToldOfAndPutOff(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		now, shelf, told := time.Now(), &refusing{Store: s}, []string(nil)
		k := keeperWith(shelf, &press{}, func(c *runrecord.Config[tally]) {
			c.Unstorable = func(run string, err error) {
				if !errors.Is(err, oona.ErrTooLarge) {
					t.Error(err)
				}
				told = append(told, run)
			}
		})
		for _, run := range []string{"run-1", "run-2"} {
			if _, err := k.Step(t.Context(), run, due(now)); err != nil {
				t.Fatal(err)
			}
		}
		shelf.errs = []error{fmt.Errorf("x: %w", oona.ErrTooLarge)}
		for _, look := range []struct {
			after time.Duration
			want  int
		}{{time.Second, 2}, {30 * time.Minute, 0}, {2 * time.Hour, 1}} {
			if got := tick(t, k, now.Add(look.after), due(time.Time{})); got != look.want {
				t.Errorf("after %s: %d runs, want %d", look.after, got, look.want)
			}
		}
		if len(told) != 1 {
			t.Errorf("told of %q", told)
		}
	})
}
