package alert

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// script plays observations and silence, one a second, and says what state they lead to: + holds,
// - does not, . is nothing.
func script(t Terms, text string) string {
	tracker := NewTracker(Limits{})
	subject := Subject{Rule: "r", Source: "s"}
	states := ""
	for i, mark := range text {
		now := noon.Add(time.Duration(i) * time.Second)
		if mark != '.' {
			tracker.Observe(subject, Meaning{}, t, Observation{At: now, Holds: mark == '+'})
		}
		tracker.Tick(now, Heard{Until: now}, func(string) (Terms, bool) { return t, true })
		states += letter(tracker, subject.ID())
	}
	return states
}

func letter(t *Tracker, id string) string {
	a, _ := t.Get(id)
	switch a.State {
	case Pending:
		return "p"
	case Firing:
		return "F"
	case Resolved:
		return "r"
	default:
		return "i"
	}
}

func TestStates(t *testing.T) {
	tests := map[string]struct {
		terms        Terms
		played, want string
	}{
		"at once":                      {Terms{Count: 1}, "+-+-", "FrFr"},
		"three in a row":               {Terms{Count: 3}, "++-+++-", "ppippFr"},
		"hold time":                    {Terms{Count: 1, For: 3 * time.Second}, "+++++-", "pppFFr"},
		"hold time, interrupted":       {Terms{Count: 1, For: 3 * time.Second}, "+++-+++", "pppippp"},
		"the last word stands":         {Terms{Count: 1, For: 3 * time.Second}, "+....", "pppFF"},
		"absence is no recovery":       {Terms{Count: 1}, "+......", "FFFFFFF"},
		"absence is no observation":    {Terms{Count: 3}, "+.+....+", "pppppppF"},
		"linger":                       {Terms{Count: 1, Linger: 2 * time.Second}, "+-...", "FFFrr"},
		"linger, back again":           {Terms{Count: 1, Linger: 2 * time.Second}, "+-+-+", "FFFFF"},
		"quiet":                        {Terms{Count: 1, Quiet: 3 * time.Second}, "+..+....", "FFFFFFrr"},
		"quiet forgets a streak":       {Terms{Count: 2, Quiet: 2 * time.Second}, "+..+", "ppip"},
		"silence":                      {Terms{Count: 1, Absent: 3 * time.Second}, "-...-", "iiiFr"},
		"silence, for long":            {Terms{Count: 1, Absent: 2 * time.Second, For: 2 * time.Second}, "-.....-", "iippFFr"},
		"what was never heard is well": {Terms{Count: 1, Absent: time.Second}, "....", "iiii"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := script(test.terms, test.played); got != test.want {
				t.Errorf("%s: %s, wanted %s", test.played, got, test.want)
			}
		})
	}
}

func TestSubjectsDoNotTouchEachOther(t *testing.T) {
	tracker, terms := NewTracker(Limits{}), Terms{Count: 3}
	a, b := Subject{Rule: "r", Source: "a"}, Subject{Rule: "r", Source: "b"}
	for i := range 3 {
		at := noon.Add(time.Duration(i) * time.Second)
		fired := tracker.Observe(a, Meaning{}, terms, Observation{At: at, Holds: true, Value: 12})
		if (fired != nil) != (i == 2) {
			t.Errorf("after %d: %v", i+1, fired)
		}
		if told := tracker.Observe(b, Meaning{}, terms, Observation{At: at}); told != nil {
			t.Errorf("the other is told: %v", told)
		}
	}
}

func TestLateObservationsSayNothing(t *testing.T) {
	tracker, terms, subject := NewTracker(Limits{}), Terms{Count: 1}, Subject{Rule: "r"}
	tracker.Observe(subject, Meaning{}, terms, Observation{At: noon, Holds: true})
	if ended := tracker.Observe(subject, Meaning{}, terms, Observation{At: noon.Add(-time.Second)}); ended != nil {
		t.Error("an older observation ends the alert")
	}
}

// What came together is looked at in any order.
func TestTheYoungestWordStandsInWhateverOrderItIsHeard(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}} {
		for last := range 2 {
			tracker, subject := NewTracker(Limits{}), Subject{Rule: "r"}
			for _, i := range order {
				at := noon.Add(time.Duration(i) * time.Second)
				tracker.Observe(subject, Meaning{}, Terms{Count: 1}, Observation{At: at, Heard: noon.Add(time.Hour), Holds: i%2 == last})
				tracker.Tick(noon.Add(time.Hour), Heard{Until: noon.Add(time.Hour)}, func(string) (Terms, bool) { return Terms{Count: 1}, true })
			}
			if a, _ := tracker.Get(subject.ID()); (a.State == Firing) != (last == 0) {
				t.Errorf("order %v: %s, though the youngest holds is %v", order, a.State, last == 0)
			}
		}
	}
}

func TestFiringAlertsOfWhichNothingIsHeardEndAfterADay(t *testing.T) {
	tracker, terms, subject := NewTracker(Limits{}), Terms{Count: 1}, Subject{Rule: "r"}
	of := func(string) (Terms, bool) { return terms, true }
	tracker.Observe(subject, Meaning{}, terms, Observation{At: noon, Holds: true})
	if told := tracker.Tick(noon.Add(24*time.Hour-1), Heard{Until: noon.Add(24*time.Hour - 1)}, of); len(told) != 0 {
		t.Errorf("too early: %v", told)
	}
	told := tracker.Tick(noon.Add(24*time.Hour), Heard{Until: noon.Add(24 * time.Hour)}, of)
	if len(told) != 1 || told[0].Reason != Forgotten {
		t.Errorf("told %+v", told)
	}
	tracker.Tick(noon.Add(25*time.Hour), Heard{Until: noon.Add(25 * time.Hour)}, of)
	if left := tracker.Kept(); len(left) != 0 {
		t.Errorf("%d are kept", len(left))
	}
}

func TestSilenceIsToldAgainOfWhoCameBack(t *testing.T) {
	tracker, terms, subject := NewTracker(Limits{}), Terms{Count: 1, Absent: time.Minute}, Subject{Rule: "r"}
	states := ""
	for _, step := range []struct {
		after time.Duration
		heard bool
	}{{0, true}, {time.Minute, false}, {25 * time.Hour, false}, {25*time.Hour + time.Second, true}, {25*time.Hour + 62*time.Second, false}} {
		now := noon.Add(step.after)
		if step.heard {
			tracker.Observe(subject, Meaning{}, terms, Observation{At: now})
		}
		tracker.Tick(now, Heard{Until: now}, func(string) (Terms, bool) { return terms, true })
		states += letter(tracker, subject.ID())
	}
	if states != "iFriF" {
		t.Errorf("states %s", states)
	}
}

// What was on its way when its sender was taken for silent is older than the alert, which ends no
// earlier than it began.
func TestAlertsEndNoEarlierThanTheyBegan(t *testing.T) {
	for what, terms := range map[string]Terms{
		"absence":   {Count: 1, Absent: 10 * time.Second},
		"hold time": {Count: 1, For: 10 * time.Second},
	} {
		tracker, subject := NewTracker(Limits{}), Subject{Rule: "r"}
		tracker.Observe(subject, Meaning{}, terms, Observation{At: noon, Holds: terms.For > 0})
		fired := tracker.Tick(noon.Add(12*time.Second), Heard{Until: noon.Add(12 * time.Second)}, func(string) (Terms, bool) { return terms, true })
		ended := tracker.Observe(subject, Meaning{}, terms, Observation{At: noon.Add(11 * time.Second), Heard: noon.Add(13 * time.Second)})
		if len(fired) != 1 || ended == nil || ended.State != Resolved || ended.Ended.Before(fired[0].Fired) {
			t.Errorf("%s: began %+v, ended %+v", what, fired, ended)
		}
	}
}

func TestAlertsEndWithTheirRule(t *testing.T) {
	tracker, subject := NewTracker(Limits{}), Subject{Rule: "r"}
	tracker.Observe(subject, Meaning{}, Terms{Count: 1}, Observation{At: noon, Holds: true})
	told := tracker.Tick(noon, Heard{Until: noon}, func(string) (Terms, bool) { return Terms{}, false })
	if len(told) != 1 || told[0].Reason != Withdrawn || len(tracker.Kept()) != 0 {
		t.Errorf("told %+v, kept %d", told, len(tracker.Kept()))
	}
}

func TestN17SubjectsAreBounded(t *testing.T) {
	tracker := NewTracker(Limits{Subjects: 100, OfRule: 10})
	for i := range 1000 {
		tracker.Observe(Subject{Rule: "loud", Source: fmt.Sprint(i)}, Meaning{}, Terms{Count: 1}, Observation{At: noon, Holds: true})
	}
	if got := len(tracker.Kept()); got != 10 || tracker.Dropped() != 990 {
		t.Errorf("%d are kept, %d were dropped", got, tracker.Dropped())
	}
	if tracker.Observe(Subject{Rule: "other"}, Meaning{}, Terms{Count: 1}, Observation{At: noon, Holds: true}) == nil {
		t.Error("one rule has taken the room of another")
	}
}

func TestIDsTellSubjectsApart(t *testing.T) {
	seen := map[string]Subject{}
	for _, s := range []Subject{
		{Rule: "a", Source: "bc"}, {Rule: "ab", Source: "c"}, {Rule: "a", Source: "b", Labels: map[string]string{"c": ""}},
		{Rule: "a", Source: "b", Labels: map[string]string{"": "c"}}, {Rule: "a", Source: `b"c"`},
	} {
		if other, taken := seen[s.ID()]; taken {
			t.Errorf("%v and %v have one id", s, other)
		}
		seen[s.ID()] = s
	}
}

func TestN17AcknowledgementsEndWithTheAlert(t *testing.T) {
	tracker, terms, subject := NewTracker(Limits{}), Terms{Count: 1}, Subject{Rule: "r"}
	if tracker.Acknowledge(subject.ID(), Acknowledgement{By: "me"}) {
		t.Error("what does not fire is taken up")
	}
	for i, want := range []bool{true, false} {
		at := noon.Add(time.Duration(2*i) * time.Second)
		tracker.Observe(subject, Meaning{}, terms, Observation{At: at, Holds: true})
		if want {
			tracker.Acknowledge(subject.ID(), Acknowledgement{By: "me"})
		}
		if a, _ := tracker.Get(subject.ID()); (a.Ack != nil) != want {
			t.Errorf("time %d: acknowledged %v", i+1, a.Ack)
		}
		tracker.Observe(subject, Meaning{}, terms, Observation{At: at.Add(time.Second)})
	}
}

func TestRestoredAlertsGoOnWhereTheyWere(t *testing.T) {
	tracker, terms, subject := NewTracker(Limits{}), Terms{Count: 3}, Subject{Rule: "r", Labels: map[string]string{"run": "x"}}
	for i := range 2 {
		at := noon.Add(time.Duration(i) * time.Second)
		tracker.Observe(subject, Meaning{Summary: "s"}, terms, Observation{At: at, Holds: true, Value: math.NaN()})
	}
	text, err := json.Marshal(tracker.Kept())
	if err != nil {
		t.Fatal(err)
	}
	var kept []Alert
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	after := NewTracker(Limits{})
	after.Restore(kept)
	fired := after.Observe(subject, Meaning{Summary: "s"}, terms, Observation{At: noon.Add(2 * time.Second), Holds: true, Value: 1})
	if fired == nil || fired.Since != noon {
		t.Errorf("%+v", fired)
	}
}

func TestSilencesMatch(t *testing.T) {
	subject := Subject{Rule: "bus_lag", Source: "weatherlight", Labels: map[string]string{"stream": "normal"}}
	hour := noon.Add(time.Hour)
	tests := map[string]struct {
		silence Silence
		want    bool
	}{
		"all":         {Silence{}, true},
		"rule":        {Silence{Rule: "bus_lag"}, true},
		"begin":       {Silence{Rule: "bus_*"}, true},
		"other rule":  {Silence{Rule: "bus"}, false},
		"source":      {Silence{Source: "nissa"}, false},
		"label":       {Silence{Labels: map[string]string{"stream": "nor*"}}, true},
		"other label": {Silence{Labels: map[string]string{"stream": "policy"}}, false},
		"no such one": {Silence{Labels: map[string]string{"run": "*"}}, false},
	}
	for name, test := range tests {
		test.silence.ID, test.silence.Until = name, hour
		if got := (Silences{test.silence}).Of(subject, noon); (len(got) == 1) != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	one := Silences{{ID: "a", From: noon.Add(time.Second), Until: hour}}
	if len(one.Of(subject, noon)) != 0 || len(one.Of(subject, hour)) != 0 || len(one.At(hour)) != 0 || len(one.At(noon)) != 1 {
		t.Error("a silence holds from its beginning until before its end")
	}
}

// Whatever is observed when: what fires had as many observations in a row as it needs, what ends
// has fired, and both take turns.
func TestFiringAndEndingTakeTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		second := rapid.Map(rapid.IntRange(0, 4), func(n int) time.Duration { return time.Duration(n) * time.Second })
		terms := Terms{
			Count: rapid.IntRange(1, 4).Draw(t, "count"), For: second.Draw(t, "for"), Linger: second.Draw(t, "linger"), Quiet: second.Draw(t, "quiet"),
		}
		tracker, subject, now := NewTracker(Limits{}), Subject{Rule: "r"}, noon
		firing, streak := false, 0
		var since time.Time
		check := func(told *Alert) {
			if told == nil {
				return
			}
			if (told.State == Firing) == firing {
				t.Fatalf("%s while firing is %v", told.State, firing)
			}
			if firing = told.State == Firing; firing && (streak < terms.Count || now.Sub(since) < terms.For) {
				t.Fatalf("fires after %d observations in %s", streak, now.Sub(since))
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(second.Draw(t, "pause"))
			if rapid.Bool().Draw(t, "observe") {
				holds := rapid.Bool().Draw(t, "holds")
				if streak++; !holds {
					streak = 0
				}
				if streak == 1 {
					since = now
				}
				check(tracker.Observe(subject, Meaning{}, terms, Observation{At: now, Holds: holds}))
			}
			for _, told := range tracker.Tick(now, Heard{Until: now}, func(string) (Terms, bool) { return terms, true }) {
				check(&told)
			}
		}
	})
}

func TestN23NumbersSurviveJSON(t *testing.T) {
	for _, x := range []float64{0, -1.5, math.Inf(1), math.Inf(-1)} {
		text, err := json.Marshal(Number(x))
		if err != nil {
			t.Fatal(err)
		}
		var got Number
		if err := json.Unmarshal(text, &got); err != nil || !cmp.Equal(got, Number(x)) {
			t.Errorf("%v: %s, %v, %v", x, text, got, err)
		}
	}
}

// The clock of who tells is set back by an hour: what is told is late for a moment, and no longer.
func TestASenderWhoseClockIsSetBackIsHeardAgain(t *testing.T) {
	tracker := NewTracker(Limits{})
	tell := func(passed, back time.Duration, holds bool) (state State) {
		at := noon.Add(passed)
		subject := Subject{Rule: "r", Source: "s"}
		tracker.Observe(subject, Meaning{}, Terms{Count: 1}, Observation{At: at.Add(-back), Heard: at, Holds: holds})
		a, _ := tracker.Get(subject.ID())
		return a.State
	}
	for _, step := range []struct {
		passed, back time.Duration
		holds        bool
		want         State
	}{
		{0, 0, false, Inactive},
		{time.Second, time.Hour, true, Inactive}, // overtaken, as far as anybody knows
		{2 * time.Minute, time.Hour, true, Firing},
		{3 * time.Minute, time.Hour, false, Resolved},
		{4 * time.Minute, 0, true, Firing}, // and it is right again
	} {
		if got := tell(step.passed, step.back, step.holds); got != step.want {
			t.Errorf("after %s the alert is %s, wanted %s", step.passed, got, step.want)
		}
	}
}

// Who falls silent again after he was heard again is silent, and stays so until he is heard.
func TestASecondSilenceLastsAsLongAsTheFirst(t *testing.T) {
	tracker, subject, now := NewTracker(Limits{}), Subject{Rule: "r", Source: "s"}, noon
	terms := Terms{Count: 1, Absent: time.Minute}
	state := func() State { a, _ := tracker.Get(subject.ID()); return a.State }
	for range 3 {
		tracker.Observe(subject, Meaning{}, terms, Observation{At: now})
		if got := state(); got == Firing {
			t.Fatalf("heard, and it is %s", got)
		}
		for range 10 {
			now = now.Add(30 * time.Second)
			tracker.Tick(now, Heard{Until: now}, func(string) (Terms, bool) { return terms, true })
		}
		a, _ := tracker.Get(subject.ID())
		if a.State != Firing || a.Fired.After(now.Add(-4*time.Minute)) {
			t.Fatalf("silent for five minutes: %+v", a)
		}
	}
}

// A sender's clock is behind by an hour: what he says is heard when it comes.
func TestWhoseClockIsBehindIsNotSilent(t *testing.T) {
	tracker, subject := NewTracker(Limits{}), Subject{Rule: "r", Source: "s"}
	terms := Terms{Count: 1, Absent: time.Minute}
	for second := range 120 {
		now := noon.Add(time.Duration(second) * time.Second)
		tracker.Observe(subject, Meaning{}, terms, Observation{At: now.Add(-time.Hour), Heard: now})
		if told := tracker.Tick(now, Heard{Until: now}, func(string) (Terms, bool) { return terms, true }); len(told) > 0 {
			t.Fatalf("after %d s: %+v", second, told)
		}
	}
}
