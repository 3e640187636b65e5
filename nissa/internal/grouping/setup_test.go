package grouping_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
)

var (
	noon    = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	errDown = errors.New("down")
)

// desk is a planner with a clock, and what it knows of alerts.
type desk struct {
	planner  *grouping.Planner
	now      time.Time
	firing   map[string]alert.Alert
	silenced map[string]bool
	down     bool
	refused  string // a rule of which the receiver takes nothing
	slow     bool   // what is delivered is known when the next is looked for
	sent     []string
	underWay []grouping.Notification
}

func newDesk(times grouping.Times, perMinute int) *desk {
	return &desk{
		planner: grouping.New(times, map[string]grouping.Receiver{"chat": {PerMinute: perMinute}}), now: noon,
		firing: map[string]alert.Alert{}, silenced: map[string]bool{},
	}
}

func (d *desk) Silenced(a alert.Alert) bool { return d.silenced[a.Source] }

func (d *desk) Firing(id string) (alert.Alert, bool) {
	a, fires := d.firing[id]
	return a, fires
}

func (d *desk) fire(rule, source string) {
	s := alert.Subject{Rule: rule, Source: source}
	a := alert.Alert{Subject: s, ID: s.ID(), State: alert.Firing, Fired: d.now}
	d.firing[a.ID] = a
	d.planner.Note("chat", a, d.now, d)
}

func (d *desk) resolve(rule, source string) {
	id := alert.Subject{Rule: rule, Source: source}.ID()
	a := d.firing[id]
	a.State, a.Ended = alert.Resolved, d.now
	delete(d.firing, id)
	d.planner.Note("chat", a, d.now, d)
}

// pass lets time pass in tenths of a second, and takes down what is sent.
func (d *desk) pass(length time.Duration) {
	for end := d.now.Add(length); d.now.Before(end); d.now = d.now.Add(100 * time.Millisecond) {
		due := d.planner.Due(d.now, d)
		if d.slow {
			due, d.underWay = d.underWay, due
		}
		for _, n := range due {
			var err error
			if d.down || n.Rule == d.refused {
				err = errDown
			} else {
				d.sent = append(d.sent, fmt.Sprintf("%.1fs %s", d.now.Sub(noon).Seconds(), say(n)))
			}
			d.planner.Done(n, err, d.now)
		}
	}
}

func say(n grouping.Notification) string {
	names := func(alerts []alert.Alert) (all string) {
		for _, a := range alerts {
			all += a.Source
		}
		return all
	}
	said := n.Rule + " +" + names(n.Firing) + " -" + names(n.Resolved)
	if n.Again {
		said += " again"
	}
	return said
}

func (d *desk) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(d.sent, want) {
		t.Errorf("sent:\n%s\nwanted:\n%s", strings.Join(d.sent, "\n"), strings.Join(want, "\n"))
	}
	d.sent = nil
}

var times = grouping.Times{Wait: 200 * time.Millisecond, Interval: 10 * time.Second, Repeat: time.Minute}
