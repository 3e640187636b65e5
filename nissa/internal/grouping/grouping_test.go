package grouping_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
)

func TestAlertsOfOneRuleAreToldTogether(t *testing.T) {
	d := newDesk(times, 60)
	d.fire("r", "a")
	d.fire("r", "b")
	d.fire("other", "c")
	d.pass(time.Second)
	d.fire("r", "d")
	d.resolve("r", "a")
	d.pass(20 * time.Second)
	d.expect(t, "0.2s other +c -", "0.3s r +ab -", "10.3s r +d -a")
}

func TestWhatFiresOnIsToldAgain(t *testing.T) {
	d := newDesk(times, 60)
	d.fire("r", "a")
	d.pass(130 * time.Second)
	d.expect(t, "0.2s r +a -", "60.2s r +a - again", "120.2s r +a - again")
	a := d.firing[alert.Subject{Rule: "r", Source: "a"}.ID()]
	a.Ack = &alert.Acknowledgement{By: "me"}
	d.firing[a.ID] = a
	d.pass(2 * time.Minute)
	d.resolve("r", "a")
	d.pass(2 * time.Minute)
	d.expect(t, "250.2s r + -a")
}

func TestSilencesKeepAlertsFromBeingTold(t *testing.T) {
	d := newDesk(times, 60)
	d.silenced["a"], d.silenced["b"] = true, true
	d.fire("r", "a")
	d.fire("r", "b")
	d.pass(5 * time.Second)
	d.resolve("r", "b") // it came and went in silence
	d.pass(5 * time.Second)
	d.expect(t)
	d.silenced = map[string]bool{}
	d.pass(2 * time.Second)
	d.expect(t, "10.0s r +a -")
	d.silenced["a"] = true
	d.resolve("r", "a") // who was told that it fires is told that it does no more
	d.pass(20 * time.Second)
	d.expect(t, "20.0s r + -a")
}

func TestWhatCannotBeDeliveredIsToldLaterAsItIsThen(t *testing.T) {
	d := newDesk(times, 60)
	d.down = true
	d.fire("r", "a")
	d.fire("r", "b")
	d.pass(20 * time.Second)
	d.resolve("r", "b") // it is told although it came and went meanwhile
	d.fire("r", "c")
	if got := d.planner.Failures()["chat"]; got != 5 {
		t.Errorf("%d attempts in 20 s", got)
	}
	d.down = false
	d.pass(20 * time.Second)
	d.expect(t, "31.2s r +ac -b")
	if d.planner.Failures()["chat"] != 0 || d.planner.Waiting() != 0 {
		t.Error("failures are still counted")
	}
}

// A notification that a receiver takes ill is tried again, and the others are told beside it.
func TestWhatIsRefusedKeepsNothingElseFromBeingTold(t *testing.T) {
	d := newDesk(times, 60)
	d.refused = "bad"
	d.fire("bad", "a")
	d.fire("good", "b")
	d.pass(2 * time.Second)
	d.fire("later", "c")
	d.pass(10 * time.Second)
	d.expect(t, "1.2s good +b -", "2.3s later +c -")
	d.refused = ""
	d.pass(20 * time.Second)
	d.expect(t, "17.4s bad +a -")
}

func TestReceiversAreNotTalkedToMoreThanTheyMay(t *testing.T) {
	d := newDesk(times, 6)
	for i := range 60 {
		d.fire(fmt.Sprintf("r%02d", i), "a")
	}
	d.pass(time.Minute)
	if got := len(d.sent); got != 11 && got != 12 {
		t.Errorf("%d notifications in a minute: 6 at once, and one each ten seconds", got)
	}
	d.pass(9 * time.Minute)
	told := map[string]bool{}
	for _, line := range d.sent {
		told[strings.Fields(line)[1]] = true
	}
	if len(told) != 60 {
		t.Errorf("%d of 60 rules were told", len(told))
	}
}

func TestProgramsAreKeptUpToDate(t *testing.T) {
	d := newDesk(times, 60)
	d.planner.Use(times, map[string]grouping.Receiver{"chat": {PerMinute: 600, Keepalive: 5 * time.Second}})
	d.fire("r", "a")
	d.pass(time.Second)
	a := d.firing[alert.Subject{Rule: "r", Source: "a"}.ID()]
	a.Ack = &alert.Acknowledgement{By: "me"}
	d.firing[a.ID], d.silenced["a"] = a, true
	d.fire("r", "b")
	d.pass(9 * time.Second)
	d.expect(t, "0.2s r +a -", "1.2s r +b -", "6.2s r +ab - again")
}

func TestNotificationsTellHowManyFire(t *testing.T) {
	d, left := newDesk(times, 60), []int{}
	for _, step := range []func(){
		func() { d.fire("r", "a"); d.fire("r", "b") }, func() { d.resolve("r", "a"); d.fire("r", "c") },
		func() { d.resolve("r", "b"); d.resolve("r", "c") },
	} {
		step()
		d.now = d.now.Add(time.Minute)
		for _, n := range d.planner.Due(d.now, d) {
			left = append(left, n.Left)
			d.planner.Done(n, nil, d.now)
		}
	}
	if !slices.Equal(left, []int{2, 2, 0}) {
		t.Errorf("left %v", left)
	}
}

func TestNotificationsNameWhatOneCanRead(t *testing.T) {
	d := newDesk(times, 60)
	for i := range 50 {
		d.fire("r", fmt.Sprint(i))
	}
	d.now = d.now.Add(time.Second)
	due := d.planner.Due(d.now, d)
	if len(due) != 1 || len(due[0].Firing) != 50 {
		t.Fatalf("due %v", due)
	}
	if named := due[0].Named(); len(named.Firing) != 20 || named.Unnamed != 30 {
		t.Errorf("%d are named, %d are not", len(named.Firing), named.Unnamed)
	}
}

// A receiver is away for so long that thousands come and go. Afterwards it knows of what fires then,
// and what it was told of before has ended for it.
func TestReceiversThatWereAwayKnowWhatFires(t *testing.T) {
	d := newDesk(times, 600)
	d.fire("r", "first")
	d.pass(time.Second)
	d.down = true
	for i := range 3000 {
		d.fire("r", fmt.Sprint("seed-", i))
		if i >= 100 {
			d.resolve("r", fmt.Sprint("seed-", i-100))
		}
		d.now = d.now.Add(time.Second)
	}
	d.resolve("r", "first")
	d.down = false
	d.pass(6 * time.Minute)
	told := d.planner.Kept()[0].Told
	for id, a := range d.firing {
		if _, is := told[id]; !is {
			t.Errorf("%s fires, and nobody knows", a.Source)
		}
	}
	if len(told) != len(d.firing) || len(told) != 100 {
		t.Errorf("%d are told, and %d fire", len(told), len(d.firing))
	}
}

// A file that is read again may have the right address of a receiver.
func TestNewFilesAreTriedAtOnce(t *testing.T) {
	d := newDesk(times, 60)
	d.down = true
	d.fire("r", "a")
	d.pass(17 * time.Second) // five attempts, the next one after sixteen seconds
	d.down = false
	d.planner.Use(times, map[string]grouping.Receiver{"chat": {PerMinute: 60}})
	d.pass(time.Second)
	d.expect(t, "17.0s r +a -")
}

// A receiver knows of something that does not fire, as after a crash: it has ended for it as well.
func TestWhatReceiversKnowIsComparedWithWhatFires(t *testing.T) {
	d := newDesk(times, 60)
	d.fire("r", "a")
	d.fire("r", "b")
	d.pass(time.Second)
	d.expect(t, "0.2s r +ab -")
	delete(d.firing, alert.Subject{Rule: "r", Source: "a"}.ID())
	d.planner.Settle(slices.Collect(maps.Values(d.firing)), func(string) []string { return []string{"chat"} }, d.now)
	d.pass(20 * time.Second)
	d.expect(t, "10.2s r + -a")
}

func TestPlansGoOnAfterARestart(t *testing.T) {
	d := newDesk(times, 60)
	d.fire("r", "a")
	d.pass(time.Second)
	d.fire("r", "b")
	d.expect(t, "0.2s r +a -")
	text, err := json.Marshal(d.planner.Kept())
	if err != nil {
		t.Fatal(err)
	}
	var kept []grouping.Group
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	d.planner = grouping.New(times, map[string]grouping.Receiver{"chat": {PerMinute: 60}})
	d.planner.Restore(kept)
	d.resolve("r", "a")
	d.pass(20 * time.Second)
	d.expect(t, "10.2s r +b -a")
}

// However deliveries fail: once they work, a receiver knows of exactly what fires, and has been
// told of all that ever did.
func TestReceiversKnowWhatFires(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk(times, 600)
		known, heard, fired := map[string]bool{}, map[string]bool{}, map[string]bool{}
		listen := func() {
			for _, line := range d.sent {
				words := strings.Fields(line)
				for _, source := range words[2][1:] {
					known[words[1]+string(source)], heard[words[1]+string(source)] = true, true
				}
				for _, source := range words[3][1:] {
					delete(known, words[1]+string(source))
					heard[words[1]+string(source)] = true
				}
			}
			d.sent = nil
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			rule, source := rapid.SampledFrom([]string{"r", "q"}).Draw(t, "rule"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "source")
			d.down, d.slow = rapid.Bool().Draw(t, "down"), true
			if _, fires := d.firing[alert.Subject{Rule: rule, Source: source}.ID()]; fires {
				d.resolve(rule, source)
			} else {
				d.fire(rule, source)
				fired[rule+source] = true
			}
			d.pass(time.Duration(rapid.IntRange(0, 30).Draw(t, "tenths")) * 100 * time.Millisecond)
			listen()
		}
		d.down = false
		d.pass(6 * time.Minute)
		listen()
		for _, a := range d.firing {
			if !known[a.Rule+a.Source] {
				t.Fatalf("%s of %s fires, and nobody knows", a.Rule, a.Source)
			}
		}
		if len(known) != len(d.firing) || len(heard) != len(fired) {
			t.Fatalf("known %v, firing %d; heard of %d that fired of %d", known, len(d.firing), len(heard), len(fired))
		}
	})
}
