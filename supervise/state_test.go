package supervise

import (
	"encoding/json"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestTransitionTableIsWhole(t *testing.T) {
	if len(moves) != len(stateNames) {
		t.Fatalf("%d rows for %d states", len(moves), len(stateNames))
	}
	reached := map[State]bool{Created: true}
	for from, row := range moves {
		if State(from).AtRest() != (len(row) == 0) {
			t.Errorf("%v: at rest %v, moves to %v", State(from), State(from).AtRest(), row)
		}
		for _, to := range row {
			reached[to] = true
		}
	}
	for s := range stateNames {
		if !reached[State(s)] {
			t.Errorf("%v cannot be reached", State(s))
		}
	}
}

func TestStatesReadTheSameInJSON(t *testing.T) {
	got, err := json.Marshal([]any{BackingOff, HalfOpen, State(99), Circuit(-1)})
	if want := `["backing_off","half_open","State(99)","Circuit(-1)"]`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

// Whatever is asked of it, the statusRecord makes the moves of the table and no other.
func TestLedgerRefusesIllegalMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &statusRecord{status: Status{Name: "w"}}
		for _, to := range rapid.SliceOf(rapid.IntRange(-1, len(stateNames))).Draw(t, "moves") {
			before := l.snapshot()
			e := l.record(State(to), change{err: ErrReturned})
			after := l.snapshot()
			var illegal *IllegalMoveError
			if refused := errors.As(e.Err, &illegal); refused == before.State.CanMove(State(to)) {
				t.Fatalf("%v to %v: event %+v", before.State, State(to), e)
			} else if refused && (after.State != before.State || after.Restarts != before.Restarts || e.To != e.From) {
				t.Fatalf("a refused move changed %+v to %+v", before, after)
			} else if !refused && (after.State != State(to) || e.From != before.State) {
				t.Fatalf("%v to %v ended in %v, event %+v", before.State, State(to), after.State, e)
			}
		}
	})
}

func TestIllegalMoveIsNamed(t *testing.T) {
	err := &IllegalMoveError{Worker: "w", From: Stopped, To: Running}
	if want := `worker "w" cannot go from stopped to running`; err.Error() != want {
		t.Errorf("%q, want %q", err.Error(), want)
	}
}
