package verify

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
)

func TestOldCommandIsStaleWhateverItsEntryID(t *testing.T) {
	now := time.Now()
	windows := Windows{Control: 2 * time.Minute, Skew: 5 * time.Second}
	for name, c := range map[string]struct {
		issued, stored time.Duration // before now
		want           string
	}{
		"fresh":                               {time.Second, 0, ""},
		"waited for its consumer":             {6 * time.Hour, 6*time.Hour - time.Second, ""},
		"stored long after it was signed":     {6 * time.Hour, 0, deadletter.ReasonStale},
		"older than any memory, id to match":  {25 * time.Hour, 25 * time.Hour, deadletter.ReasonStale},
		"stored under an id from the future":  {time.Second, -time.Hour, ""},
		"signed in the future, id to match":   {-time.Hour, -time.Hour, deadletter.ReasonFuture},
		"signed ahead by less than the skew":  {-time.Second, 0, ""},
		"stored before it was signed by skew": {0, 4 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			command := Identity{control: true, Issued: now.Add(-c.issued)}
			if got := command.Refuse(windows, now.Add(-c.stored), Times{Bus: now}); got != c.want {
				t.Errorf("refused as %q, want %q", got, c.want)
			}
		})
	}
}

// What a handler needs may be away for an hour, and what waits for it is answered.
func TestRequestThatWaitedForItsAnswerIsNotStale(t *testing.T) {
	t.Parallel()
	windows := Windows{Freshness: time.Minute, Skew: 5 * time.Second}
	published := time.UnixMilli(1_700_000_000_000)
	who := Identity{Space: spaceRequest, ID: "r", dated: true, Issued: published}
	late := published.Add(10 * time.Minute)
	if got := who.Refuse(windows, published, Times{Bus: late}); got != "" {
		t.Errorf("delivered late: %q", got)
	}
	if got := who.Refuse(windows, late, Times{Bus: late}); got != deadletter.ReasonStale {
		t.Errorf("stored late: %q", got)
	}
}

// Whoever can write to Redis may store what was captured once more, under an id that
// fits its time. By then its mark is there, or it is too old.
func TestMarkOutlivesWhateverCouldBeTakenAgain(t *testing.T) {
	t.Parallel()
	windows := Windows{Control: 2 * time.Minute, Freshness: time.Minute, Skew: 5 * time.Second}
	issued := time.UnixMilli(1_700_000_000_000)
	forgotten := issued.Add(-windows.Skew + MarkLife) // at the earliest
	for kind, who := range map[string]Identity{
		"request": {dated: true, ID: "r", Issued: issued}, "answer": {ID: "r", Issued: issued},
		"command": {control: true, ID: "n", Issued: issued},
	} {
		for _, ahead := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
			if got := who.Refuse(windows, issued, Times{Bus: forgotten, Ahead: ahead, Set: ahead}); got != deadletter.ReasonStale {
				t.Errorf("%s, clocks %v apart: refused as %q", kind, ahead, got)
			}
		}
	}
}

func TestRecentRemembersItsCapacityAndNotMuchMore(t *testing.T) {
	t.Parallel()
	r := NewRecent(2)
	r.Update(func(remember func(mark, id string)) {
		for _, mark := range []string{"1", "2", "2", "3", "4", "5"} {
			remember(mark, "e"+mark)
		}
	})
	r.View(func(holder func(mark string) string) {
		if holder("4") != "e4" || holder("5") != "e5" {
			t.Error("one of the last two is forgotten")
		}
		if holder("1") != "" || holder("6") != "" {
			t.Error("remembers what is long gone, or was never set")
		}
	})
}
