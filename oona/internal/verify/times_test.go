package verify

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
)

// A message is as old as the clock says that it was dated by: the bus's, or a
// peer's own, of which ours is the best that is known.
func TestR30MessageIsFreshByTheClockThatDatedIt(t *testing.T) {
	t.Parallel()
	here := time.UnixMilli(1_700_000_000_000)
	windows := Windows{Control: 2 * time.Minute, Freshness: time.Minute, Skew: 5 * time.Second}
	for _, apart := range []time.Duration{0, 15 * time.Second, -15 * time.Second, 10 * time.Minute, -10 * time.Minute} {
		bus := here.Add(apart)
		for name, c := range map[string]struct {
			issued, stored time.Time
			set            time.Duration
			want           string
		}{
			"dated by the bus":                      {bus, bus, 0, ""},
			"dated by a clock like ours":            {here, bus, 0, ""},
			"dated and stored before the clock set": {here, here, apart, ""},
			"long ago, by the bus":                  {bus.Add(-time.Hour), bus, 0, deadletter.ReasonStale},
			"long ago, by a clock like ours":        {here.Add(-time.Hour), bus, 0, deadletter.ReasonStale},
			"from the future":                       {here.Add(time.Hour), bus, 0, deadletter.ReasonFuture},
		} {
			at := Times{Bus: bus, Ahead: apart, Set: c.set}
			for kind, who := range map[string]Identity{
				"command": {control: true, Issued: c.issued}, "request": {dated: true, ID: "r", Issued: c.issued},
				"answer": {Issued: c.issued},
			} {
				if got := who.Refuse(windows, c.stored, at); got != c.want {
					t.Errorf("%v apart, %s %s: refused as %q, want %q", apart, kind, name, got, c.want)
				}
			}
			if got := windows.SoonStored(c.issued, c.stored, at); got != c.want {
				t.Errorf("%v apart, order %s: dropped as %q, want %q", apart, name, got, c.want)
			}
		}
	}
}

func TestMessageWithoutADateIsOfNoClock(t *testing.T) {
	t.Parallel()
	who := Identity{dated: true, ID: "r"}
	if got := who.Refuse(Windows{}, time.Now(), Times{Bus: time.Now(), Ahead: time.Hour}); got != deadletter.ReasonStale {
		t.Errorf("refused as %q", got)
	}
}

// The clock of the bus may be moved, and a report must not be ignored for that.
func TestR30MessageIsAsOldAsTheClockSaysThatDatedIt(t *testing.T) {
	t.Parallel()
	here := time.UnixMilli(1_700_000_000_000)
	const moved, second = 10 * time.Minute, time.Second
	for _, test := range []struct {
		name                string
		issued, stored, bus time.Time
		set, age            time.Duration
	}{
		{"one clock", here.Add(-second), here, here, 0, second},
		{"one clock, captured", here.Add(-time.Hour), here, here, 0, time.Hour},
		{"bus ahead, dated by ours", here.Add(-second), here.Add(moved), here.Add(moved), 0, second},
		{"bus ahead, dated by the bus's", here.Add(moved - second), here.Add(moved), here.Add(moved), 0, second},
		{"bus ahead, captured", here.Add(-time.Hour), here.Add(moved), here.Add(moved), 0, time.Hour},
		{"bus behind, dated by ours", here.Add(-second), here.Add(-moved), here.Add(-moved), 0, second},
		{"bus set back, its entries still ahead", here.Add(-second), here.Add(moved), here, -moved, second},
		{"bus set forward, dated before its peer knew", here.Add(-moved - second), here, here, moved, second},
		{"waited for an hour", here.Add(-time.Hour - second), here.Add(-time.Hour), here, 0, second},
	} {
		at := Times{Bus: test.bus, Ahead: test.bus.Sub(here), Set: test.set}
		if age := at.Age(test.issued, test.stored); age != test.age {
			t.Errorf("%s: %v old, want %v", test.name, age, test.age)
		}
	}
}
