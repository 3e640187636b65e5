package grouping

import (
	"maps"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
)

// maxPassed bounds the alerts of a group that came and went before anybody could be told. Those that
// fire, or that somebody was told of, are as many as there are subjects, and all find room.
const maxPassed = 200

// Group is what a receiver knows of a rule, and what it has to be told.
type Group struct {
	Receiver string                 `json:"receiver"`
	Rule     string                 `json:"rule"`
	Told     map[string]alert.Alert `json:"told,omitempty"`    // that fire, as far as it knows
	Pending  map[string]alert.Alert `json:"pending,omitempty"` // that fire and it does not know of, and those of Told that ended
	Passed   map[string]alert.Alert `json:"passed,omitempty"`  // that came and went, and it never knew of
	More     int                    `json:"more,omitempty"`    // and of those, for which there was no room
	First    time.Time              `json:"first,omitzero"`    // when the first of all those came
	Sent     time.Time              `json:"sent,omitzero"`     // the last notification
	Failed   time.Time              `json:"failed,omitzero"`   // the last that could not be delivered

	telling   map[string]bool        // that fire by a notification that is under way
	leaving   map[string]alert.Alert // that came and went, by that notification
	dismissed bool                   // the rule does not name the receiver any more
}

// whole makes up what an older state does not have, and returns how many found no room.
func (g *Group) whole() (unnamed int) {
	for _, alerts := range []*map[string]alert.Alert{&g.Told, &g.Pending, &g.Passed} {
		if *alerts == nil {
			*alerts = map[string]alert.Alert{}
		}
	}
	return g.passAll()
}

// knows says that the receiver was told, or is just being told, that an alert fires.
func (g *Group) knows(id string) bool {
	_, told := g.Told[id]
	return told || g.telling[id]
}

func (g *Group) empty() bool { return g.waiting() == 0 }

func (g *Group) waiting() int { return len(g.Pending) + len(g.Passed) + len(g.leaving) + g.More }

// hush forgets an alert that has ended in silence, if nobody was told of it: nobody wants to know. It says whether
// it has.
func (g *Group) hush(a alert.Alert, view View) bool {
	if a.State != alert.Resolved || g.knows(a.ID) || !view.Silenced(a) {
		return false
	}
	delete(g.Pending, a.ID)
	return true
}

// note takes down what has become of an alert. It says whether there was room.
func (g *Group) note(a alert.Alert, now time.Time) bool {
	_, waits := g.Pending[a.ID]
	if a.State == alert.Resolved && !waits && !g.knows(a.ID) {
		return true // it was never to be told
	}
	if g.empty() {
		g.First = now
	}
	delete(g.Passed, a.ID)
	g.Pending[a.ID] = a
	return g.pass(a)
}

// pass puts an alert that came and went with the others of that kind. It says whether there was room.
func (g *Group) pass(a alert.Alert) bool {
	if a.State != alert.Resolved || g.knows(a.ID) {
		return true
	}
	delete(g.Pending, a.ID)
	if len(g.Passed) >= maxPassed {
		g.More++
		return false
	}
	g.Passed[a.ID] = a
	return true
}

// passAll does so with all, and with those that were to leave and did not. It returns how many found no room.
func (g *Group) passAll() (unnamed int) {
	for _, a := range g.left() {
		if !g.pass(a) {
			unnamed++
		}
	}
	g.leaving = nil
	for _, a := range g.Pending {
		if !g.pass(a) {
			unnamed++
		}
	}
	return unnamed
}

// heard says that the receiver knows that an alert fires, or will.
func (g *Group) heard(id string) bool {
	if waits, is := g.Pending[id]; is {
		return waits.State == alert.Firing
	}
	return g.knows(id)
}

// end ends for the receiver what fires no more though nobody said so, and what it is not to hear of.
func (g *Group) end(fires map[string]bool, now time.Time) {
	for id, a := range g.Pending {
		if a.State == alert.Firing && !g.knows(id) && (g.dismissed || !fires[id]) {
			delete(g.Pending, id)
		}
	}
	for id, a := range g.Told {
		if waits, is := g.Pending[id]; fires[id] || is && waits.State == alert.Resolved {
			continue
		}
		a.State, a.Ended, a.Reason = alert.Resolved, now, alert.Forgotten
		g.note(a, now)
	}
}

// changes are what a receiver does not know of yet, without what is silenced.
func (g *Group) changes(view View) Notification {
	n := Notification{Receiver: g.Receiver, Rule: g.Rule}
	for id, a := range g.Pending {
		_, told := g.Told[id]
		switch {
		case a.State == alert.Resolved:
			n.Resolved = append(n.Resolved, a)
		case told || !view.Silenced(a):
			n.Firing = append(n.Firing, a)
		}
	}
	for id, a := range g.Passed {
		if view.Silenced(a) {
			delete(g.Passed, id) // nobody wanted to know
			continue
		}
		n.Resolved = append(n.Resolved, a)
	}
	if len(g.Passed) == 0 {
		g.More = 0 // all those of the same kind that can still be named are silenced
	}
	n.Passed = g.More
	return n
}

// repeated are the alerts that a receiver knows of and that fire on: for a program all, for people
// those that are in nobody's hands.
func (g *Group) repeated(view View, all bool) (firing []alert.Alert) {
	if g.dismissed {
		return nil
	}
	for id := range g.Told {
		if a, fires := view.Firing(id); fires && (all || a.Ack == nil && !view.Silenced(a)) {
			firing = append(firing, a)
		}
	}
	return firing
}

// begin notes that a notification is under way. What comes and goes meanwhile finds room as if it had arrived.
func (g *Group) begin(n Notification) {
	g.telling = make(map[string]bool, len(n.Firing))
	for _, a := range n.Firing {
		g.telling[a.ID] = true
	}
	g.leaving, g.Passed = g.Passed, map[string]alert.Alert{}
}

// done notes whether a notification was delivered, and returns how many alerts found no room.
func (g *Group) done(n Notification, delivered bool, now time.Time) (unnamed int) {
	g.telling = nil
	if !delivered {
		g.Failed = now
		return g.passAll()
	}
	g.First, g.Sent, g.Failed, g.leaving = now, now, time.Time{}, nil
	g.More = max(g.More-n.Passed, 0)
	for _, a := range n.Firing {
		g.settle(a)
		g.Told[a.ID] = a
	}
	for _, a := range n.Resolved {
		g.settle(a)
		delete(g.Told, a.ID)
	}
	return g.passAll()
}

// settle notes that an alert was told. What has become of it meanwhile is still to be told.
func (g *Group) settle(told alert.Alert) {
	if waits, is := g.Pending[told.ID]; is && waits.State == told.State && waits.Fired.Equal(told.Fired) {
		delete(g.Pending, told.ID)
	}
}

// kept is the group as it is if nothing more is heard of what is under way.
func (g *Group) kept() Group {
	kept := *g
	kept.telling, kept.leaving = nil, nil
	kept.Told, kept.Pending, kept.Passed = maps.Clone(g.Told), maps.Clone(g.Pending), maps.Clone(g.Passed)
	maps.Copy(kept.Passed, g.left())
	return kept
}

// left is what was to leave and of which nothing newer is known.
func (g *Group) left() map[string]alert.Alert {
	left := maps.Clone(g.leaving)
	maps.DeleteFunc(left, func(id string, _ alert.Alert) bool {
		_, again := g.Pending[id]
		_, newer := g.Passed[id]
		return again || newer
	})
	return left
}
