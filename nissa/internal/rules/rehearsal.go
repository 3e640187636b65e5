package rules

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// Times of a rehearsal, in place of longer ones.
const (
	rehearsedWait  = 50 * time.Millisecond
	rehearsedPause = time.Second
)

// Rehearser is the receiver that a rehearsal adds to every rule and objective. Refused is another
// one, which is to refuse, and the rule and the event of which it is to be told.
const (
	Rehearser = "drill"
	Refused   = "drill_refused"
)

// Rehearsal is the file with other addresses, with short times, and with a receiver more for
// everything: what is raised on it tells nobody outside, and ends soon. The urls are those of
// receivers, by name.
func Rehearsal(text []byte, folder string, urlOf func(receiver string) string) ([]byte, error) {
	if _, err := Parse(text, folder); err != nil {
		return nil, err
	}
	d, _, err := read(text)
	if err != nil {
		return nil, err
	}
	d.Grouping = writtenGrouping{Wait: span(rehearsedWait), Interval: span(rehearsedWait), Repeat: span(time.Hour)}
	d.Receivers = append(d.Receivers, writtenReceiver{Name: Rehearser}, writtenReceiver{Name: Refused})
	for i := range d.Receivers {
		name := d.Receivers[i].Name
		d.Receivers[i] = writtenReceiver{Name: name, URL: urlOf(name), PerMinute: maxPerMinute}
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		r.For, r.Linger = min(r.For, span(rehearsedPause)/2), min(r.Linger, span(rehearsedPause)/2)
		r.Absent = min(r.Absent, span(rehearsedPause))
		if len(r.Clear) == 0 { // what ends it is rehearsed
			r.Quiet = min(r.Quiet, span(rehearsedPause))
		}
		r.Receivers = append(r.Receivers, Rehearser)
	}
	for i := range d.Objectives {
		d.Objectives[i].Receivers = append(d.Objectives[i].Receivers, Rehearser)
	}
	d.Rules = append(d.Rules, writtenRule{
		Name: Refused, Summary: "A receiver that refuses", Severity: Info, Event: Refused, Quiet: span(rehearsedPause),
		Receivers: texts{Refused},
	})
	written, err := yaml.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write the rules down: %w", err)
	}
	return written, nil
}
