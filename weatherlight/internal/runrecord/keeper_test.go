package runrecord_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

func TestKeepersThatChangeOneRecordLoseNothing(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		const keepers, each = 3, 40
		var writing sync.WaitGroup
		var conflicts int64
		var counting sync.Mutex
		for range keepers {
			writing.Go(func() {
				k := keeper(s, &press{}, never, 0)
				for range each {
					_, err := k.Step(t.Context(), testRun, counted())
					for errors.Is(err, runrecord.ErrContended) { // the bus brings the message again
						_, err = k.Step(t.Context(), testRun, counted())
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
				counting.Lock()
				defer counting.Unlock()
				conflicts += k.Conflicts()
			})
		}
		writing.Wait()
		wantCount(t, keeper(s, &press{}, never, 0), keepers*each)
		if conflicts == 0 {
			t.Error("they never met")
		}
	})
}

func TestMessagesOfOneKeeperDoNotConflict(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		k := keeper(s, &press{}, never, 1) // a cache that forgets nearly everything
		var writing sync.WaitGroup
		const runs, each = 8, 10
		for i := range runs * each {
			writing.Go(func() {
				if _, err := k.Step(t.Context(), fmt.Sprint("run-", i%runs), counted()); err != nil {
					t.Error(err)
				}
			})
		}
		writing.Wait()
		wantCount(t, k, each)
	})
}

// A decision that did not stand must not reach the trainer.
func TestOrdersGoOutInTheStepThatWritesTheRecord(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		one, other := keeper(s, &press{}, never, 0), keeper(s, &press{}, never, 0)
		step(t, one, counted())
		tries := 0
		step(t, one, func(r *tally) (runrecord.Outcome[tally], error) {
			if tries++; tries == 1 {
				step(t, other, counted()) // between the decision and its writing
			}
			outcome, err := counted()(r)
			outcome.Orders = []*leyline.AdaptationCommand{{CommandId: fmt.Sprint("try-", tries)}}
			return outcome, err
		})
		if tries != 2 || one.Conflicts() != 1 {
			t.Errorf("decided %d times, %d conflicts", tries, one.Conflicts())
		}
		wantCount(t, one, 3)
		step(t, one, func(r *tally) (runrecord.Outcome[tally], error) {
			outcome, err := counted()(r)
			outcome.Orders = []*leyline.AdaptationCommand{{CommandId: "last"}}
			return outcome, err
		})
		if got := s.orders(testRun, 2); !slices.Equal(got, []string{"try-2", "last"}) {
			t.Errorf("orders %v", got)
		}
	})
}

// A keeper whose cached record is out of date must not say that there is nothing to do.
func TestDecisionThatChangesNothingIsMadeOnTheRecordAsItIs(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		one, other := keeper(s, &press{}, never, 0), keeper(s, &press{}, never, 0)
		step(t, one, counted())
		step(t, other, counted())
		var seen []int
		step(t, one, func(r *tally) (runrecord.Outcome[tally], error) {
			seen = append(seen, r.Count)
			return runrecord.Outcome[tally]{}, nil
		})
		if !slices.Equal(seen, []int{1, 2}) {
			t.Errorf("decided on %v", seen)
		}
	})
}

func TestRecordThatTheBusForgotBeginsAnew(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		for name, writes := range map[string]bool{"by a decision that writes": true, "by one that does not": false} {
			k := keeper(s, &press{}, never, 0)
			step(t, k, counted())
			s.flush()
			var last *tally
			step(t, k, func(r *tally) (runrecord.Outcome[tally], error) {
				if last = r; writes {
					return counted()(r)
				}
				return runrecord.Outcome[tally]{}, nil
			})
			if last != nil {
				t.Errorf("%s: decided on %+v, which is gone", name, last)
			}
			s.flush()
		}
	})
}

func TestOutputsOfAKeeperThatDiedArePublishedByTheNextOne(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		output := runrecord.Output{
			Payload:    &leyline.KernelPrefetchRequest{RequestId: "request-1"},
			Attributes: map[string]string{"slot": "[4]"}, Once: "once-1",
		}
		dying := keeper(s, &press{fails: func() error { return errCrash }}, never, 0)
		if _, err := dying.Step(t.Context(), testRun, counted(output)); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		const grace = 30 * time.Millisecond
		paper, begun := &press{}, time.Now()
		next := keeper(s, paper, grace, 0)
		step(t, next, func(r *tally) (runrecord.Outcome[tally], error) {
			if len(paper.published()) != 1 || time.Since(begun) < grace {
				t.Errorf("decided with %d outputs published, after %s", len(paper.published()), time.Since(begun))
			}
			return counted()(r)
		})
		got := paper.published()
		if len(got) != 1 || !proto.Equal(got[0].Payload, output.Payload) || got[0].Once != output.Once || got[0].Attributes["slot"] != "[4]" {
			t.Errorf("published %+v", got)
		}
		if next.Recovered() != 1 {
			t.Errorf("%d recovered", next.Recovered())
		}
		stored, err := s.Load(t.Context(), oona.RecordKey{Part: part, Run: testRun})
		if err != nil || len(stored.Pending) != 0 {
			t.Errorf("still pending: %q, %v", stored.Pending, err)
		}
		wantCount(t, next, 2)
	})
}

// The writer usually lives: what it is about to publish must not go out twice.
func TestOutputsOfAKeeperThatLivesAreLeftToIt(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		publishing, release := make(chan struct{}), make(chan struct{})
		slow := &press{fails: func() error { close(publishing); <-release; return nil }}
		var writing sync.WaitGroup
		writing.Go(func() {
			output := runrecord.Output{Payload: &leyline.FieldReport{ReportId: "report-1"}}
			if _, err := keeper(s, slow, never, 0).Step(t.Context(), testRun, counted(output)); err != nil {
				t.Error(err)
			}
		})
		<-publishing
		paper := &press{}
		next := keeper(s, paper, never, 0)
		writing.Go(func() {
			if _, err := next.Step(t.Context(), testRun, counted()); err != nil {
				t.Error(err)
			}
		})
		close(release)
		writing.Wait()
		if len(paper.published())+int(next.Recovered()) != 0 || len(slow.published()) != 1 {
			t.Errorf("published %d times by another, %d by its writer", len(paper.published()), len(slow.published()))
		}
		wantCount(t, next, 2)
	})
}

func TestWaitForTheWriterEndsWithItsMessage(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		dying := keeper(s, &press{fails: func() error { return errCrash }}, never, 0)
		output := runrecord.Output{Payload: &leyline.FieldReport{ReportId: "report-1"}}
		if _, err := dying.Step(t.Context(), testRun, counted(output)); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := keeper(s, &press{}, never, 0).Step(ctx, testRun, counted()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// Otherwise its run would be held up for as long as the record lives.
func TestWhatCannotBeReadIsLostAndToldOf(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		for run, write := range map[string]oona.RecordWrite{
			"value":   {Value: []byte("unreadable")},
			"outputs": {Value: []byte("{}"), Pending: []byte(`[{"type": "no.such.Message"}]`)},
			"list":    {Value: []byte("{}"), Pending: []byte("nonsense")},
			"payload": {Value: []byte("{}"), Pending: []byte(`[{"type": "esper.leyline.v1.FieldReport", "payload": "/w=="}]`)},
		} {
			write.Key = oona.RecordKey{Part: part, Run: run}
			if _, err := s.Save(t.Context(), write); err != nil {
				t.Fatal(err)
			}
			paper := &press{}
			if _, err := keeper(s, paper, time.Millisecond, 0).Step(t.Context(), run, counted()); err != nil || len(paper.published()) != 0 {
				t.Errorf("%s: %v, published %v", run, err, paper.published())
			}
			if !slices.Equal(paper.lost, []string{run}) {
				t.Errorf("%s: lost %v", run, paper.lost)
			}
			stored, err := s.Load(t.Context(), write.Key)
			if err != nil || string(stored.Value) != `{"Count":1}` || len(stored.Pending) != 0 {
				t.Errorf("%s: %q and %q are stored, %v", run, stored.Value, stored.Pending, err)
			}
		}
	})
}

func TestDecisionThatFailsWritesNothing(t *testing.T) {
	onBothBuses(t, func(t *testing.T, s *store) {
		k := keeper(s, &press{}, never, 0)
		step(t, k, counted())
		_, err := k.Step(t.Context(), testRun, func(*tally) (runrecord.Outcome[tally], error) {
			return runrecord.Outcome[tally]{Record: &tally{Count: 7}}, errCrash
		})
		if !errors.Is(err, errCrash) {
			t.Error(err)
		}
		wantCount(t, k, 1)
	})
}

// contended is a store whose records others change all the time.
type contended struct{ runrecord.Store }

func (contended) Load(context.Context, oona.RecordKey) (oona.Record, error) {
	return oona.Record{}, nil
}

func (contended) Save(_ context.Context, w oona.RecordWrite) (int64, error) {
	return 0, &oona.ConflictError{Key: w.Key, Expected: w.Version, Found: w.Version + 1}
}

func TestKeeperGivesUpOnARecordThatNeverHoldsStill(t *testing.T) {
	tries := 0
	_, err := keeper(contended{}, &press{}, never, 0).Step(t.Context(), testRun, func(r *tally) (runrecord.Outcome[tally], error) {
		tries++
		return counted()(r)
	})
	if !errors.Is(err, runrecord.ErrContended) || tries < 2 {
		t.Errorf("%v after %d tries", err, tries)
	}
}
