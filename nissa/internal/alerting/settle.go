package alerting

import (
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/notify"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

// settle has the books go by the file where it is another than they went by: what it has no more ends,
// and who is to be told by it is told what fires.
func (d *Desk) settle(now time.Time) {
	shapes := shapesOf(d.file)
	gone := func(s alert.Subject) bool {
		before, known := d.shapes[s.Rule]
		is := known && before != shapes[s.Rule] || !exists(s, d.byName[s.Rule], d.senders)
		if is {
			d.engine.Forget(s.ID())
		}
		return is
	}
	for _, ended := range d.tracker.Withdraw(now, gone) {
		d.note(ended, now)
	}
	d.shapes = shapes
	var firing []alert.Alert
	for _, a := range d.tracker.Alerts() {
		if a.State == alert.Firing {
			firing = append(firing, a)
		}
	}
	d.planner.Settle(firing, d.receiversOfRule, now)
	d.unsaved = true
	nudge(d.changed)
}

// exists says that there may be news of a subject of a rule, if it has one: an objective has all its
// subjects, and what belongs to neither ends by itself.
func exists(s alert.Subject, rule *rules.Rule, senders map[string]notify.Sender) bool {
	if rule == nil {
		return true
	}
	if name := s.Labels["receiver"]; rule.Metric == failedInARow && name != "" && senders[name] == nil {
		return false
	}
	return rule.Has(s.Source, s.Labels)
}

// shapesOf are those of the rules of a file. An objective of another window counts from the beginning.
func shapesOf(file *rules.File) map[string]string {
	shapes := make(map[string]string, len(file.Rules)+len(file.Objectives))
	for i := range file.Rules {
		shapes[file.Rules[i].Name] = file.Rules[i].Shape()
	}
	for i := range file.Objectives {
		shapes[file.Objectives[i].Name] = file.Objectives[i].Window.String()
	}
	return shapes
}
