// Package alert is what becomes of a condition over time: an alert is inactive, pending while
// its condition holds and not for long enough, firing, and then resolved. What is not heard of
// is as it was: absence is no recovery.
//
// [Alert] decides, without a clock; [Tracker] keeps the alerts of all subjects within bounds.
package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

// State is how far an alert has come.
type State string

// The states. Resolved is one that fired and does no more.
const (
	Inactive State = "inactive"
	Pending  State = "pending"
	Firing   State = "firing"
	Resolved State = "resolved"
)

// Why an alert ended.
const (
	Recovered = "recovered"      // its condition does not hold any more, or what ends it was told
	Quiet     = "quiet"          // the event that raised it did not come again
	Forgotten = "not_heard_of"   // nothing was heard of its subject for a day
	Withdrawn = "rule_withdrawn" // its rule is not in the file any more, or does not look at its subject
)

// Forget is how long an alert is kept of whose subject nothing is heard.
const (
	forgetFiring = 24 * time.Hour
	forgetIdle   = 10 * time.Minute
)

// Terms are what must be so for how long.
type Terms struct {
	Count  int           // observations in a row that must hold
	For    time.Duration // that it must hold before it fires
	Linger time.Duration // that it must be gone before it ends
	Quiet  time.Duration // after the last that held it ends by itself; 0: it does not
	Absent time.Duration // silence that is what must not be; 0: silence says nothing
}

// Subject is what an alert is about: a rule, and of what it was broken.
type Subject struct {
	Rule   string            `json:"rule"`
	Source string            `json:"source"`
	Labels map[string]string `json:"labels,omitempty"`
}

// ID is the same for the same subject in every process.
func (s Subject) ID() string {
	text := strconv.AppendQuote(strconv.AppendQuote(nil, s.Rule), s.Source)
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		text = strconv.AppendQuote(strconv.AppendQuote(text, name), s.Labels[name])
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Meaning is what a rule says of its alerts.
type Meaning struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Runbook  string `json:"runbook,omitempty"`
}

// Number is a value that JSON can hold whatever it is.
type Number float64

// MarshalJSON writes what is no number in JSON as a text.
func (n Number) MarshalJSON() ([]byte, error) {
	if x := float64(n); math.IsNaN(x) || math.IsInf(x, 0) {
		return json.Marshal(strconv.FormatFloat(x, 'g', -1, 64))
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads both.
func (n *Number) UnmarshalJSON(text []byte) error {
	if len(text) > 1 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	x, err := strconv.ParseFloat(string(text), 64)
	*n = Number(x)
	return err
}

// Observation is one look at a condition.
type Observation struct {
	At     time.Time // by the clock of who made it
	Heard  time.Time // by ours, when that is another time
	Holds  bool
	Value  float64
	Detail string
}

// Acknowledgement says that somebody has taken an alert up.
type Acknowledgement struct {
	By      string    `json:"by"`
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"`
}

// Alert is the state of one subject.
type Alert struct {
	Subject
	Meaning

	ID     string           `json:"id"`
	State  State            `json:"state"`
	Streak int              `json:"streak,omitempty"` // observations in a row that held
	Since  time.Time        `json:"since,omitzero"`   // when its condition began to hold
	Fired  time.Time        `json:"fired,omitzero"`
	Ended  time.Time        `json:"ended,omitzero"`
	Reason string           `json:"reason,omitempty"` // why it ended
	Seen   time.Time        `json:"seen,omitzero"`    // the last observation
	Heard  time.Time        `json:"heard,omitzero"`   // when it came
	Watch  bool             `json:"watch,omitempty"`  // its silence would say something
	Held   time.Time        `json:"held,omitzero"`    // the last that held
	Gone   time.Time        `json:"gone,omitzero"`    // since when its condition does not hold
	Value  Number           `json:"value"`
	Detail string           `json:"detail,omitempty"`
	Ack    *Acknowledgement `json:"ack,omitempty"`
}

// observe takes one look. One that is older than the last is late and says nothing: what is on the
// bus together is looked at in any order. When all are for a while, the clock of who made them was
// set back.
func (a Alert) observe(t Terms, o Observation) Alert {
	if o.Heard.IsZero() {
		o.Heard = o.At
	}
	if setback.Late(o.At, o.Heard, a.Seen, a.Heard) {
		return a
	}
	if o.At.Before(a.Seen) {
		a = a.NotAfter(o.At)
	}
	a.Heard = o.Heard
	a.Watch = t.Absent > 0
	if a.Seen = o.At; a.Reason == Forgotten {
		a.State, a.Reason = Inactive, "" // it is heard of again
	}
	if !o.Holds {
		a.Streak = 0
		return a.recede(t, o.At)
	}
	a.Streak++
	a.Held, a.Value, a.Detail, a.Gone = o.At, Number(o.Value), o.Detail, time.Time{}
	return a.hold(t, o.At, a.Held)
}

// hold is the step of an alert whose condition holds, and has since at the latest.
func (a Alert) hold(t Terms, now, since time.Time) Alert {
	if a.State == Inactive || a.State == Resolved || a.State == "" {
		a.State, a.Since = Pending, since
		a.Fired, a.Ended, a.Gone, a.Reason, a.Ack = time.Time{}, time.Time{}, time.Time{}, "", nil
	}
	if a.State == Pending && a.Streak >= t.Count && now.Sub(a.Since) >= t.For {
		a.State, a.Fired = Firing, now
	}
	return a
}

// recede is the step of an alert whose condition does not hold.
func (a Alert) recede(t Terms, now time.Time) Alert {
	switch a.State {
	case Pending:
		a.State = Inactive
	case Firing:
		if a.Gone.IsZero() {
			a.Gone = now
		}
		if now.Sub(a.Gone) >= t.Linger {
			return a.end(now, Recovered)
		}
	}
	return a
}

// end is no earlier than the beginning: what was on its way when time alone began the alert is older.
func (a Alert) end(now time.Time, reason string) Alert {
	if now.Before(a.Fired) {
		now = a.Fired
	}
	a.State, a.Ended, a.Reason, a.Streak = Resolved, now, reason, 0
	return a
}

// tick is what time alone does.
func (a Alert) tick(t Terms, now time.Time, heard Heard) Alert {
	began, silent := heard.silence(a.Seen, a.Heard)
	switch {
	case a.State == Firing:
		return a.tickFiring(t, now)
	case t.Absent > 0 && silent >= t.Absent && a.Reason != Forgotten:
		a.Streak = t.Count
		return a.hold(t, now, began.Add(t.Absent))
	case a.State == Pending && t.Quiet > 0 && now.Sub(a.Held) >= t.Quiet:
		a.State, a.Streak = Inactive, 0
		return a
	case a.State == Pending:
		return a.hold(t, now, a.Since) // the last word stands until there is another
	default:
		return a
	}
}

func (a Alert) tickFiring(t Terms, now time.Time) Alert {
	switch {
	case !a.Gone.IsZero() && now.Sub(a.Gone) >= t.Linger:
		return a.end(now, Recovered)
	case t.Quiet > 0 && now.Sub(a.Held) >= t.Quiet:
		return a.end(now, Quiet)
	case now.Sub(a.Seen) >= max(forgetFiring, 4*t.Absent):
		return a.end(now, Forgotten)
	default:
		return a
	}
}

// idle says that nothing is lost when the alert is forgotten.
func (a Alert) idle(t Terms, now time.Time) bool {
	if t.Absent > 0 && a.State != Resolved {
		return false
	}
	for _, last := range []time.Time{a.Seen, a.Heard, a.Ended} {
		if now.Sub(last) < forgetIdle {
			return false
		}
	}
	return a.State == Inactive || a.State == Resolved
}
