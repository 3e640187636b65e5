package health

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/telemetry"
)

// severity says how much of the service an alarm concerns.
type severity string

const (
	severityInfo     severity = "info"     // worth knowing, nothing is lost
	severityWarning  severity = "warning"  // a part does less than it should
	severityCritical severity = "critical" // work cannot be done
)

// Alarm is one trouble that somebody should look at.
type Alarm struct {
	Name string `json:"alarm"`
	// Subject is what of the kind is in trouble: a worker, a folder, a job.
	Subject  string    `json:"subject,omitempty"`
	Severity severity  `json:"severity"`
	Since    time.Time `json:"since"`
	Detail   string    `json:"detail,omitempty"`
	// Gone: what it tells of was not found in the last round. It ends soon, unless that
	// comes back, and is no reason not to be ready.
	Gone bool `json:"gone,omitempty"`
}

// condition is one kind of trouble.
type condition struct {
	name     string
	severity severity
	// causes are the conditions that bring this one about. While one of them
	// holds, this one is a symptom and no alarm of its own.
	causes []string
	// visible is how long it must hold before it is an alarm: less is a blip.
	visible time.Duration
	// linger is how long it must be gone before the alarm ends, so that what
	// comes and goes is one alarm.
	linger time.Duration
}

// finding says that a condition holds now.
type finding struct{ subject, detail string }

// trouble is a condition that holds for one subject, or held until just now.
type trouble struct {
	finding

	since, last time.Time
	raised      bool
}

// alarmChange is an alarm that was raised, or has ended.
type alarmChange struct {
	Alarm

	ended bool
}

// tracker turns what is found, round by round, into alarms. It reads no clock.
type tracker struct {
	conditions []condition // causes before what they cause

	mu       sync.Mutex
	observed time.Time             // the last round
	troubles map[string][]*trouble // by condition, in order of appearance
}

func newTracker(conditions []condition) *tracker {
	return &tracker{conditions: conditions, troubles: make(map[string][]*trouble)}
}

// observe takes one round of findings, by condition, and returns what changed.
func (b *tracker) observe(now time.Time, found map[string][]finding) []alarmChange {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.observed = now
	var changes []alarmChange
	for _, c := range b.conditions {
		changes = append(changes, b.age(c, found[c.name], now)...)
		for _, f := range found[c.name] {
			b.record(c.name, f, now)
		}
		if b.explained(c) {
			b.suppress(c, now)
			continue
		}
		changes = append(changes, b.raise(c, now)...)
	}
	return changes
}

// record begins a trouble, or says that it still holds.
func (b *tracker) record(name string, f finding, now time.Time) {
	for _, known := range b.troubles[name] {
		if known.subject == f.subject {
			known.last, known.detail = now, f.detail
			return
		}
	}
	b.troubles[name] = append(b.troubles[name], &trouble{finding: f, since: now, last: now})
}

// age forgets the troubles that have been gone for long enough.
func (b *tracker) age(c condition, found []finding, now time.Time) []alarmChange {
	var ended []alarmChange
	b.troubles[c.name] = slices.DeleteFunc(b.troubles[c.name], func(t *trouble) bool {
		holds := slices.ContainsFunc(found, func(f finding) bool { return f.subject == t.subject })
		if holds || now.Sub(t.last) < c.linger {
			return false
		}
		if t.raised {
			ended = append(ended, alarmChange{Alarm: t.alarm(c), ended: true})
		}
		return true
	})
	return ended
}

// explained reports whether a cause of the condition holds, be it visible yet or
// not.
func (b *tracker) explained(c condition) bool {
	return slices.ContainsFunc(c.causes, func(cause string) bool { return len(b.troubles[cause]) > 0 })
}

// suppress makes symptoms of the troubles. When their cause has gone they get their
// time to go away too before they are alarms.
func (b *tracker) suppress(c condition, now time.Time) {
	for _, t := range b.troubles[c.name] {
		t.since, t.raised = now, false
	}
}

func (b *tracker) raise(c condition, now time.Time) []alarmChange {
	var raised []alarmChange
	for _, t := range b.troubles[c.name] {
		if !t.raised && t.last.Equal(now) && now.Sub(t.since) >= c.visible {
			t.raised = true
			raised = append(raised, alarmChange{Alarm: t.alarm(c)})
		}
	}
	return raised
}

func (t *trouble) alarm(c condition) Alarm {
	return Alarm{Name: c.name, Subject: t.subject, Severity: c.severity, Since: t.since, Detail: t.detail}
}

// alarms are those that are raised, causes and earlier ones first.
func (b *tracker) alarms() []Alarm {
	b.mu.Lock()
	defer b.mu.Unlock()
	alarms := []Alarm{}
	for _, c := range b.conditions {
		for _, t := range b.troubles[c.name] {
			if t.raised {
				alarm := t.alarm(c)
				alarm.Gone = !t.last.Equal(b.observed)
				alarms = append(alarms, alarm)
			}
		}
	}
	return alarms
}

// points count the raised alarms of each condition: 0 is well.
func (b *tracker) figure() telemetry.Figure {
	count := make(map[string]float64)
	for _, alarm := range b.alarms() {
		count[alarm.Name]++
	}
	figure := telemetry.MeasureEach[int]("weatherlight.alarm{alarm}", "count", "Alarms of this kind that are raised now; 0 is well.", nil)
	for _, c := range b.conditions {
		figure = figure.With(count[c.name], c.name)
	}
	return figure
}

// worst is the alarm that says most about the service, or nil.
func worst(alarms []Alarm) *Alarm {
	rank := map[severity]int{severityInfo: 1, severityWarning: 2, severityCritical: 3}
	if len(alarms) == 0 {
		return nil
	}
	found := slices.MaxFunc(alarms, func(a, b Alarm) int { return cmp.Compare(rank[a.Severity], rank[b.Severity]) })
	return &found
}
