// Package grouping decides who is told what, and when: alerts of one rule that are for one
// receiver make one notification. What could not be delivered is told again, together with what
// has happened since; so nothing queues up, and nothing is left out.
package grouping

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

const (
	maxNamed   = 20 // alerts that a notification names
	firstPause = time.Second
	lastPause  = 5 * time.Minute
)

// Times say when a group is told; see rules.Grouping.
type Times struct{ Wait, Interval, Repeat time.Duration }

// Notification is what a receiver is told of one rule.
type Notification struct {
	Receiver string
	Rule     string
	Firing   []alert.Alert
	Resolved []alert.Alert
	Passed   int       // more alerts that came and went, of which only the number is known
	Unnamed  int       // more alerts, that it does not name
	Left     int       // alerts that fire, all that the receiver will know of
	Again    bool      // nothing has changed since the last
	At       time.Time // when it was due, by the clock of its alerts
}

// Receiver is how somebody wants to be told.
type Receiver struct {
	PerMinute int // most notifications in a minute
	// Keepalive is how often a program that keeps alerts is told again that one fires, be it
	// acknowledged or silenced or not; 0: the receiver is no program.
	Keepalive time.Duration
}

// receiver is how it goes with telling somebody.
type receiver struct {
	Receiver

	limit    *rate.Limiter
	busy     bool
	failures int
	next     time.Time // no attempt before
}

// Planner plans notifications. It belongs to one goroutine.
type Planner struct {
	times     Times
	groups    map[[2]string]*Group
	receivers map[string]*receiver
	unnamed   int
}

// New plans for receivers.
func New(times Times, receivers map[string]Receiver) *Planner {
	p := &Planner{groups: map[[2]string]*Group{}, receivers: map[string]*receiver{}}
	p.Use(times, receivers)
	return p
}

// Use takes over other times and receivers. Those that are left out are told nothing more.
func (p *Planner) Use(times Times, receivers map[string]Receiver) {
	p.times = times
	for name := range p.receivers {
		if _, still := receivers[name]; !still {
			delete(p.receivers, name)
		}
	}
	for name, wants := range receivers {
		if p.receivers[name] == nil {
			p.receivers[name] = &receiver{}
		}
		p.receivers[name].Receiver = wants
		p.receivers[name].limit = newLimit(wants.PerMinute)
	}
	for _, r := range p.receivers {
		r.next = time.Time{} // its address may be another now
	}
	maps.DeleteFunc(p.groups, func(_ [2]string, g *Group) bool { return p.receivers[g.Receiver] == nil })
}

// Note takes down that an alert has begun to fire, or has ended, for a receiver.
func (p *Planner) Note(name string, a alert.Alert, now time.Time, view View) {
	if g := p.group(name, a.Rule); g != nil && !g.hush(a, view) && !g.note(a, now) {
		p.unnamed++
	}
}

// Settle compares what receivers know with all that fires, for the receivers that rules have now. Who
// is not told of a rule any more hears of the end of what it knows, and of nothing else.
func (p *Planner) Settle(firing []alert.Alert, receiversOf func(rule string) []string, now time.Time) {
	fires := make(map[string]bool, len(firing))
	for _, a := range firing {
		fires[a.ID] = true
		for _, name := range receiversOf(a.Rule) {
			if g := p.group(name, a.Rule); g != nil && !g.heard(a.ID) {
				g.note(a, now)
			}
		}
	}
	for _, g := range p.groups {
		g.dismissed = !slices.Contains(receiversOf(g.Rule), g.Receiver)
		g.end(fires, now)
	}
}

// group is that of a receiver and a rule; nil when there is no such receiver.
func (p *Planner) group(name, rule string) *Group {
	if p.receivers[name] == nil {
		return nil
	}
	key := [2]string{name, rule}
	g := p.groups[key]
	if g == nil {
		g = &Group{Receiver: name, Rule: rule}
		g.whole()
		p.groups[key] = g
	}
	return g
}

// NotAfter has the groups say nothing of a time later than now, and who waits for one wait no more, as
// it must be where a clock was set back.
func (p *Planner) NotAfter(now time.Time) {
	for _, r := range p.receivers {
		setback.NotAfter(now, &r.next)
		r.limit = newLimit(r.PerMinute)
	}
	for _, g := range p.groups {
		setback.NotAfter(now, &g.First, &g.Sent, &g.Failed)
		for _, alerts := range []map[string]alert.Alert{g.Told, g.Pending, g.Passed, g.leaving} {
			for id, a := range alerts {
				alerts[id] = a.NotAfter(now)
			}
		}
	}
}

func newLimit(perMinute int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(float64(perMinute)/60), perMinute)
}

// View is what is known of an alert at the moment.
type View interface {
	Silenced(a alert.Alert) bool
	// Firing is the alert as it is, if it fires.
	Firing(id string) (alert.Alert, bool)
}

// Due are the notifications that are to be sent now, at most one for each receiver. Each is
// followed by Done.
func (p *Planner) Due(now time.Time, view View) []Notification {
	var due []Notification
	for _, name := range slices.Sorted(maps.Keys(p.receivers)) {
		r := p.receivers[name]
		if r.busy || now.Before(r.next) || r.limit.TokensAt(now) < 1 {
			continue
		}
		if n, is := p.oldest(name, now, view); is {
			r.busy = true
			r.limit.AllowN(now, 1)
			n.At = now
			p.groups[[2]string{name, n.Rule}].begin(n)
			due = append(due, n)
		}
	}
	return due
}

// oldest is the notification for a receiver that has been due the longest; one that could not be
// delivered comes behind the others, for it may be what the receiver takes ill.
func (p *Planner) oldest(name string, now time.Time, view View) (Notification, bool) {
	var chosen Notification
	var since, failed time.Time
	for _, key := range slices.SortedFunc(maps.Keys(p.groups), compareKeys) {
		g := p.groups[key]
		if g.Receiver != name {
			continue
		}
		n, due := p.next(g, view)
		if n.empty() || due.After(now) || !chosen.empty() && cmp.Or(g.Failed.Compare(failed), due.Compare(since)) >= 0 {
			continue
		}
		chosen, since, failed = n, due, g.Failed
	}
	return chosen, !chosen.empty()
}

func compareKeys(a, b [2]string) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
}

func (n Notification) empty() bool { return len(n.Firing)+len(n.Resolved) == 0 }

// next is what a group is told next, and when.
func (p *Planner) next(g *Group, view View) (Notification, time.Time) {
	n := g.changes(view)
	wants := p.receivers[g.Receiver]
	pause, repeat := p.times.Interval, p.times.Repeat
	if wants.Keepalive > 0 {
		pause, repeat = 0, wants.Keepalive
	}
	due := later(g.First.Add(p.times.Wait), g.Sent.Add(pause))
	if n.empty() {
		n.Firing, due, n.Again = g.repeated(view, wants.Keepalive > 0), g.Sent.Add(repeat), true
	}
	slices.SortFunc(n.Firing, byTime)
	slices.SortFunc(n.Resolved, byTime)
	n.Left = len(g.Told)
	for _, a := range n.Firing {
		if _, told := g.Told[a.ID]; !told {
			n.Left++
		}
	}
	for _, a := range n.Resolved {
		if _, told := g.Told[a.ID]; told {
			n.Left--
		}
	}
	return n, due
}

func byTime(a, b alert.Alert) int {
	return cmp.Or(a.Fired.Compare(b.Fired), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Named is the notification with no more alerts than one can read.
func (n Notification) Named() Notification {
	left := max(len(n.Firing)-maxNamed, 0) + max(len(n.Resolved)-maxNamed, 0)
	n.Firing, n.Resolved = n.Firing[:min(len(n.Firing), maxNamed)], n.Resolved[:min(len(n.Resolved), maxNamed)]
	n.Unnamed = left + n.Passed
	return n
}

// Done says what became of a notification.
func (p *Planner) Done(n Notification, err error, now time.Time) {
	r := p.receivers[n.Receiver]
	if r == nil {
		return
	}
	r.busy = false
	g := p.groups[[2]string{n.Receiver, n.Rule}]
	if g != nil {
		p.unnamed += g.done(n, err == nil, now)
	}
	if err != nil {
		r.failures++
		r.next = now.Add(pause(r.failures))
		return
	}
	r.failures, r.next = 0, time.Time{}
	if g != nil && g.empty() && len(g.Told) == 0 {
		delete(p.groups, [2]string{n.Receiver, n.Rule})
	}
}

// pause doubles with each failure.
func pause(failures int) time.Duration {
	return min(firstPause<<min(failures-1, 10), lastPause)
}

// Failures are how often in a row each receiver could not be told.
func (p *Planner) Failures() map[string]int {
	failures := make(map[string]int, len(p.receivers))
	for name, r := range p.receivers {
		failures[name] = r.failures
	}
	return failures
}

// Waiting is how many alerts are still to be told.
func (p *Planner) Waiting() (waiting int) {
	for _, g := range p.groups {
		waiting += g.waiting()
	}
	return waiting
}

// Unnamed is how many alerts came and went while their receiver could not be told, of which it is
// told the number alone.
func (p *Planner) Unnamed() int { return p.unnamed }

// Kept are the groups, to be restored after a restart.
func (p *Planner) Kept() []Group {
	kept := make([]Group, 0, len(p.groups))
	for _, key := range slices.SortedFunc(maps.Keys(p.groups), compareKeys) {
		kept = append(kept, p.groups[key].kept())
	}
	return kept
}

// Restore takes them over, of receivers that there still are.
func (p *Planner) Restore(kept []Group) {
	for _, g := range kept {
		if p.receivers[g.Receiver] == nil {
			continue
		}
		p.unnamed += g.whole()
		p.groups[[2]string{g.Receiver, g.Rule}] = &g
	}
}
