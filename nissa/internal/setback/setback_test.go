package setback_test

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestWhatWasOvertakenIsLateForAMinute(t *testing.T) {
	for _, c := range []struct {
		said, heard time.Duration // after the last
		late        bool
	}{
		{-time.Second, 0, true}, {-time.Hour, time.Minute - 1, true}, {-time.Hour, time.Minute, false},
		{0, 0, false}, {time.Second, 0, false}, {time.Second, -time.Hour, false},
	} {
		if late := setback.Late(noon.Add(c.said), noon.Add(c.heard), noon, noon); late != c.late {
			t.Errorf("said %s and heard %s after the last: late is %t", c.said, c.heard, late)
		}
	}
}

func TestNothingIsNotedOfATimeToCome(t *testing.T) {
	past, future := noon.Add(-time.Second), noon.Add(time.Hour)
	before := past
	setback.NotAfter(noon, &past, &future)
	if !past.Equal(before) || !future.Equal(noon) {
		t.Errorf("noted are %s and %s", past, future)
	}
}
