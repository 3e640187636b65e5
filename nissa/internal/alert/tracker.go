package alert

import (
	"cmp"
	"slices"
	"time"
)

// Limits bound what is kept.
type Limits struct {
	Subjects int // default 20,000
	OfRule   int // subjects of one rule; default 2,000
}

// Tracker keeps the alerts of all subjects. It belongs to one goroutine.
type Tracker struct {
	limits  Limits
	alerts  map[string]*Alert
	ofRule  map[string]map[string]*Alert // the same, by rule
	crowded map[string]bool              // rules of whose subjects none can be given up, since the last look
	dropped int
}

// NewTracker has no alerts.
func NewTracker(limits Limits) *Tracker {
	limits.Subjects = cmp.Or(max(limits.Subjects, 0), 20_000)
	limits.OfRule = cmp.Or(max(limits.OfRule, 0), 2_000)
	return &Tracker{limits: limits, alerts: map[string]*Alert{}, ofRule: map[string]map[string]*Alert{}, crowded: map[string]bool{}}
}

// Dropped is how many observations found no room for their subject.
func (t *Tracker) Dropped() int { return t.dropped }

// Observe takes a look at a subject, and returns its alert when it has begun to fire or has
// ended by that.
func (t *Tracker) Observe(subject Subject, meaning Meaning, terms Terms, o Observation) *Alert {
	id := subject.ID()
	known := t.alerts[id]
	if known == nil {
		if !t.room(subject.Rule) {
			t.dropped++
			return nil
		}
		known = &Alert{Subject: subject, ID: id, State: Inactive}
		t.add(known)
	}
	known.Meaning = meaning
	return t.put(id, known.observe(terms, o))
}

func (t *Tracker) add(a *Alert) {
	t.alerts[a.ID] = a
	if t.ofRule[a.Rule] == nil {
		t.ofRule[a.Rule] = map[string]*Alert{}
	}
	t.ofRule[a.Rule][a.ID] = a
}

// put keeps what became of an alert, and returns it when that is to be told.
func (t *Tracker) put(id string, next Alert) *Alert {
	before := t.alerts[id].State
	*t.alerts[id] = next
	if next.State == Inactive || next.State == Resolved {
		clear(t.crowded)
	}
	if before != next.State && (next.State == Firing || next.State == Resolved) {
		return &next
	}
	return nil
}

// room makes some by giving up a subject of which nothing is wrong.
func (t *Tracker) room(rule string) bool {
	full := len(t.ofRule[rule]) >= t.limits.OfRule
	if !full && len(t.alerts) < t.limits.Subjects {
		return true
	}
	if t.crowded[rule] {
		return false
	}
	spare := t.alerts
	if full {
		spare = t.ofRule[rule]
	}
	for id, a := range spare {
		if a.State == Inactive || a.State == Resolved {
			t.remove(id)
			return true
		}
	}
	t.crowded[rule] = true
	return false
}

func (t *Tracker) remove(id string) {
	rule := t.alerts[id].Rule
	delete(t.alerts, id)
	clear(t.crowded)
	delete(t.ofRule[rule], id)
	if len(t.ofRule[rule]) == 0 {
		delete(t.ofRule, rule)
	}
}

// Tick lets time pass, and returns the alerts that have begun to fire or have ended by that.
// Those whose rule there is no more end.
func (t *Tracker) Tick(now time.Time, heard Heard, termsOf func(rule string) (Terms, bool)) []Alert {
	var changed []Alert
	for id, a := range t.alerts {
		terms, known := termsOf(a.Rule)
		next := a.tick(terms, now, heard)
		if !known {
			next = a.withdraw(now)
		}
		if told := t.put(id, next); told != nil {
			changed = append(changed, *told)
		}
		if !known || next.idle(terms, now) {
			t.remove(id)
		}
	}
	slices.SortFunc(changed, byID)
	return changed
}

// Withdraw ends the alerts of subjects that there are no more, and forgets them. It returns those that
// fired.
func (t *Tracker) Withdraw(now time.Time, gone func(Subject) bool) []Alert {
	var ended []Alert
	for id, a := range t.alerts {
		if !gone(a.Subject) {
			continue
		}
		if told := t.put(id, a.withdraw(now)); told != nil {
			ended = append(ended, *told)
		}
		t.remove(id)
	}
	slices.SortFunc(ended, byID)
	return ended
}

func (a Alert) withdraw(now time.Time) Alert {
	if a.State == Firing {
		return a.end(now, Withdrawn)
	}
	return a
}

func byID(a, b Alert) int {
	return cmp.Or(a.Fired.Compare(b.Fired), cmp.Compare(a.ID, b.ID))
}

// Get is the alert of an id.
func (t *Tracker) Get(id string) (Alert, bool) {
	if known := t.alerts[id]; known != nil {
		return *known, true
	}
	return Alert{}, false
}

// Alike are the subjects of a rule of which something is wrong, and whose labels by some names are those of one:
// whoever told of them.
func (t *Tracker) Alike(one Subject, by []string) (alike []Subject) {
	for _, a := range t.ofRule[one.Rule] {
		differs := func(name string) bool { return a.Labels[name] != one.Labels[name] }
		if (a.State == Pending || a.State == Firing) && !slices.ContainsFunc(by, differs) {
			alike = append(alike, a.Subject)
		}
	}
	return alike
}

// Acknowledge notes who has taken up an alert that fires. It tells whether there is one.
func (t *Tracker) Acknowledge(id string, ack Acknowledgement) bool {
	known := t.alerts[id]
	if known == nil || known.State != Firing {
		return false
	}
	known.Ack = &ack
	return true
}

// Alerts are those of which something is or was wrong: firing first, earlier ones first.
func (t *Tracker) Alerts() []Alert {
	rank := map[State]int{Firing: 0, Pending: 1, Resolved: 2}
	alerts := []Alert{}
	for _, a := range t.alerts {
		if a.State != Inactive {
			alerts = append(alerts, *a)
		}
	}
	slices.SortFunc(alerts, func(a, b Alert) int { return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), byID(a, b)) })
	return alerts
}

// Kept are those of which something would be lost in a restart.
func (t *Tracker) Kept() []Alert {
	kept := make([]Alert, 0, len(t.alerts))
	for _, a := range t.alerts {
		if a.State != Inactive || a.Watch {
			kept = append(kept, *a)
		}
	}
	slices.SortFunc(kept, byID)
	return kept
}

// Restore takes them over, as far as there is room.
func (t *Tracker) Restore(kept []Alert) {
	for _, a := range kept {
		if a.ID = a.Subject.ID(); t.alerts[a.ID] != nil || len(t.alerts) >= t.limits.Subjects {
			continue
		}
		t.add(&a)
	}
}
