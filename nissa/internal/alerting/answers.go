package alerting

import (
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
	now, shown := time.Now(), []Shown{}
	for _, a := range d.tracker.Alerts() {
		shown = append(shown, Shown{a, d.silences.Of(a.Subject, now)})
	}
	return shown
}

// Silences are those that hold, or will; without one an empty list, as JSON has it.
func (d *Desk) Silences() alert.Silences {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(alert.Silences{}, d.silences.At(time.Now())...)
}

// Objectives are how the objectives are met.
func (d *Desk) Objectives() []objectives.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.objectives.Statuses(time.Now())
}

// Acknowledge notes that somebody has taken an alert up. It is not told again while it fires on.
func (d *Desk) Acknowledge(id, by, comment string) (alert.Alert, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.tracker.Acknowledge(id, alert.Acknowledgement{By: by, Comment: comment, At: time.Now()}) {
		return alert.Alert{}, ErrUnknown
	}
	a, _ := d.tracker.Get(id)
	d.unsaved = true
	d.logger.Info("alert acknowledged", "alert", id, "rule", a.Rule, "by", by, "comment", comment)
	d.say(asked("alert_acknowledged", by, comment, "alert", id, "rule", a.Rule, "source", a.Source))
	d.wake()
	return a, nil
}

// Silence keeps alerts from being told.
func (d *Desk) Silence(s alert.Silence) (alert.Silence, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if s.From.IsZero() {
		s.From = now
	}
	d.silences = d.silences.At(now)
	switch {
	case !s.Until.After(s.From) || !s.Until.After(now):
		return s, ErrNoLength
	case len(d.silences) >= maxSilences:
		return s, ErrTooMany
	}
	s.ID = rand.Text()[:12]
	d.silences = append(d.silences, s)
	d.unsaved = true
	d.logger.Info("silence begun", "silence", s.ID, "rule", s.Rule, "source", s.Source, "until", s.Until, "by", s.By, "comment", s.Comment)
	d.say(asked("silence_begun", s.By, s.Comment,
		"silence", s.ID, "rule", s.Rule, "source", s.Source, "until", s.Until.UTC().Format(time.RFC3339)))
	d.wake()
	return s, nil
}

// EndSilence lets alerts be told again.
func (d *Desk) EndSilence(id, by string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := slices.IndexFunc(d.silences, func(s alert.Silence) bool { return s.ID == id })
	if at < 0 {
		return ErrUnknown
	}
	d.silences = slices.Delete(slices.Clone(d.silences), at, at+1)
	d.unsaved = true
	d.logger.Info("silence ended", "silence", id, "by", by)
	d.say(asked("silence_ended", by, "", "silence", id))
	d.wake()
	return nil
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
