package kasmina

import (
	"path/filepath"
	"testing"
	"time"
)

// The clock runs ahead while the process starts, and is set right afterwards.
func TestClockThatGoesBackMakesNoCommandReplayable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nonces")
	spend(t, ledgerAt(t, path, 8, noon), "a", noon)
	for range 2 { // what was forgotten is still known to be after another start
		again := ledgerAt(t, path, 8, noon.Add(time.Hour))
		back := noon.Add(10 * time.Second)
		if !again.replayed("a", back) && !again.belowFloor(noon, back) {
			t.Fatal("the command can be used again")
		}
		if again.belowFloor(back, back) {
			t.Error("a new command is refused")
		}
	}
}

// A clock that ran years ahead while commands were accepted does not keep out those
// of today.
func TestClockThatWasAheadShutsNobodyOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nonces")
	ahead := noon.AddDate(4, 0, 0)
	l := ledgerAt(t, path, 1, ahead)
	spend(t, l, "a", ahead)
	spend(t, l, "b", ahead.Add(time.Second)) // a is forgotten
	again := ledgerAt(t, path, 1, noon)
	if again.belowFloor(noon, noon) {
		t.Error("a command of today is refused")
	}
	if !again.belowFloor(ahead, ahead) {
		t.Error("the forgotten command can be used again when its day comes")
	}
}

// A command that was refused because it said to be of tomorrow keeps out nobody.
func TestCommandOfTomorrowDoesNotRaiseTheFloorToTomorrow(t *testing.T) {
	t.Parallel()
	l := ledgerAt(t, "", 8, noon)
	if _, err := l.spend("a", noon.Add(24*time.Hour), noon); err != nil {
		t.Fatal(err)
	}
	later := noon.Add(nonceTTL + time.Second)
	if l.replayed("a", later) || l.belowFloor(later.Add(-2*time.Minute), later) {
		t.Errorf("the floor is %v", l.floor)
	}
}
