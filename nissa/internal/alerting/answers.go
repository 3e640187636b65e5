package alerting

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
	"github.com/esper-lite/weatherlight/telemetry"
)

const maxSilences = 1000

// What may be wrong with a wish.
var (
	ErrUnknown  = errors.New("there is none of that id, or it does not fire")
	ErrTooMany  = errors.New("there are too many silences")
	ErrNoLength = errors.New("it is over before it begins")
	ErrNoRule   = errors.New("there is no rule or objective of that name")
	ErrStore    = errors.New("the store does not take it")
)

// Shown is an alert with who keeps it from being told.
type Shown struct {
	alert.Alert

	SilencedBy []string `json:"silenced_by,omitempty"`
}

// Alerts are those that fire, that are about to, and that have ended lately.
func (d *Desk) Alerts() []Shown {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, shown := d.now(), []Shown{}
	for _, a := range d.tracker.Alerts() {
		shown = append(shown, Shown{a, d.silences.Of(a.Subject, now)})
	}
	return shown
}

// Silences are those that hold, or will; without one an empty list, as JSON has it.
func (d *Desk) Silences() alert.Silences {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(alert.Silences{}, d.silences.At(d.now())...)
}

// Objectives are how the objectives are met.
func (d *Desk) Objectives() []objectives.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.objectives.Statuses(d.now())
}

// Acknowledge notes that somebody has taken an alert up. It is not told again while it fires on.
func (d *Desk) Acknowledge(ctx context.Context, id, by, comment string) (alert.Alert, error) {
	d.mu.Lock()
	a, _ := d.tracker.Get(id)
	a.Ack = &alert.Acknowledgement{By: by, Comment: comment, At: d.now()}
	d.mu.Unlock()
	return a, d.ask(ctx, entry{Acknowledge: &acknowledgement{id, *a.Ack}})
}

// Silence keeps alerts from being told.
func (d *Desk) Silence(ctx context.Context, s alert.Silence) (alert.Silence, error) {
	if s.From.IsZero() {
		s.From = d.Now()
	}
	s.ID = rand.Text()[:12]
	return s, d.ask(ctx, entry{Silence: &s})
}

// EndSilence lets alerts be told again.
func (d *Desk) EndSilence(ctx context.Context, id, by string) error {
	return d.ask(ctx, entry{EndSilence: &ending{id, by}})
}

// possible says why a wish cannot be granted.
func (d *Desk) possible(wanted entry, now time.Time) error {
	switch {
	case wanted.Acknowledge != nil:
		if a, known := d.tracker.Get(wanted.Acknowledge.Alert); !known || a.State != alert.Firing {
			return ErrUnknown
		}
	case wanted.Silence != nil:
		s := wanted.Silence
		if !s.Until.After(s.From) || !s.Until.After(now) {
			return ErrNoLength
		}
		if len(d.silences.At(now)) >= maxSilences {
			return ErrTooMany
		}
		if s.Rule != "" && !slices.ContainsFunc(d.ruleNames(), s.Concerns) {
			return ErrNoRule
		}
	case wanted.EndSilence != nil && d.silenced(wanted.EndSilence.ID) < 0:
		return ErrUnknown
	}
	return nil
}

// ruleNames are those by which alerts are named.
func (d *Desk) ruleNames() (names []string) {
	for i := range d.file.Rules {
		names = append(names, d.file.Rules[i].Name)
	}
	for i := range d.file.Objectives {
		names = append(names, d.file.Objectives[i].Name)
	}
	return names
}

func (b *books) silenced(id string) int {
	return slices.IndexFunc(b.silences, func(s alert.Silence) bool { return s.ID == id })
}

// grant grants a wish that is possible.
func (d *Desk) grant(wanted entry, now time.Time) {
	told := wanted.telling(d.tracker)
	switch {
	case wanted.Acknowledge != nil:
		id, ack := wanted.Acknowledge.Alert, wanted.Acknowledge.Acknowledgement
		d.tracker.Acknowledge(id, ack)
		a, _ := d.tracker.Get(id)
		d.logger.Info("alert acknowledged", "alert", id, "rule", a.Rule, "by", ack.By, "comment", ack.Comment)
	case wanted.Silence != nil:
		s := *wanted.Silence
		d.silences = append(d.silences.At(now), s)
		d.logger.Info("silence begun",
			"silence", s.ID, "rule", s.Rule, "source", s.Source, "until", s.Until, "by", s.By, "comment", s.Comment)
	case wanted.EndSilence != nil:
		id, by := wanted.EndSilence.ID, wanted.EndSilence.By
		at := d.silenced(id)
		d.silences = slices.Delete(slices.Clone(d.silences), at, at+1)
		d.logger.Info("silence ended", "silence", id, "by", by)
	}
	if len(told.GetEvents()) > 0 {
		d.say(told)
	}
	d.unsaved = true
	nudge(d.changed)
	nudge(d.urgent)
}

// asked is the packet that tells what somebody asked for.
func asked(what, by, comment string, pairs ...string) *leyline.TelemetryPacket {
	pairs = append(pairs, "by", by, "comment", comment)
	return telemetry.New(self, "nissa-alert").Event(what, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, pairs...).Build()
}

// alertPacket tells that an alert has begun to fire, or has ended.
func alertPacket(a alert.Alert) *leyline.TelemetryPacket {
	what, reason := "alert_fires", a.Detail
	if a.State == alert.Resolved {
		what, reason = "alert_resolved", a.Reason
	}
	pairs := []string{"alert", a.ID, "rule", a.Rule, "source", a.Source, "severity", a.Severity, "summary", a.Summary, "detail", reason}
	for name, text := range a.Labels {
		pairs = append(pairs, "label_"+name, text)
	}
	return telemetry.New(self, "nissa-alert").Event(what, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, pairs...).Build()
}
