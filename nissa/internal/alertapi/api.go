// Package alertapi serves alerts, silences and objectives over HTTP as JSON. What changes
// something needs the token wherever it comes from, and says who asks; what only reads needs it
// where the listener can be reached from other machines.
package alertapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/nissa/internal/wish"
)

const (
	maxSilence = 366 * 24 * time.Hour
)

// Desk is what is asked; *alerting.Desk is one.
type Desk interface {
	Now() time.Time
	Alerts() []alerting.Shown
	Silences() alert.Silences
	Objectives() []objectives.Status
	Acknowledge(ctx context.Context, id, by, comment string) (alert.Alert, error)
	Silence(ctx context.Context, s alert.Silence) (alert.Silence, error)
	EndSilence(ctx context.Context, id, by string) error
}

// Routes are what is served of alerts, silences and objectives.
func Routes(desk Desk) []route.Route {
	a := api{desk: desk}
	unclear := map[int]string{
		http.StatusBadRequest: "It cannot be read what is wanted.", http.StatusServiceUnavailable: "What is wanted cannot be stored.",
	}
	unknown := maps.Clone(unclear)
	unknown[http.StatusNotFound] = "There is none."
	return []route.Route{
		{Method: http.MethodGet, Path: "/api/alerts", Summary: "Alerts that fire, that are about to, and that have ended lately.",
			Status: http.StatusOK, Answer: alertsAnswer{}, Handler: http.HandlerFunc(a.alerts)},
		{Method: http.MethodPost, Path: "/api/alerts/{id}/ack", Summary: "Says that somebody has taken an alert up.", Body: wish.Who{},
			Status: http.StatusOK, Answer: alert.Alert{}, Refusals: unknown, Handler: wish.Handler(a.acknowledge)},
		{Method: http.MethodGet, Path: "/api/silences", Summary: "Silences that hold, or will.",
			Status: http.StatusOK, Answer: silencesAnswer{}, Handler: http.HandlerFunc(a.silences)},
		{Method: http.MethodPost, Path: "/api/silences", Body: wanted{},
			Summary: "Begins a silence: of a rule, a source or labels, until a time or for a duration.",
			Status:  http.StatusCreated, Answer: alert.Silence{}, Refusals: unclear, Handler: wish.Handler(a.silence)},
		{Method: http.MethodDelete, Path: "/api/silences/{id}", Summary: "Ends a silence.", Body: wish.Who{},
			Status: http.StatusNoContent, Refusals: unknown, Handler: wish.Handler(a.endSilence)},
		{Method: http.MethodGet, Path: "/api/objectives", Summary: "How the objectives are met. What is not known yet is left out.",
			Status: http.StatusOK, Answer: objectivesAnswer{}, Handler: http.HandlerFunc(a.objectives)},
		{Method: http.MethodGet, Path: "/metrics/summary", Summary: "The answer of the prototype: objectives, and what fires, by rule.",
			Status: http.StatusOK, Answer: summaryAnswer{}, Handler: http.HandlerFunc(a.summary)},
	}
}

type alertsAnswer struct {
	Alerts []alerting.Shown `json:"alerts"`
}

type silencesAnswer struct {
	Silences alert.Silences `json:"silences"`
}

type api struct{ desk Desk }

// wanted is what somebody wants changed.
type wanted struct {
	wish.Who

	Rule     string            `json:"rule,omitempty"`
	Source   string            `json:"source,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	From     time.Time         `json:"from,omitzero"`
	Until    time.Time         `json:"until,omitzero"`
	Duration string            `json:"duration,omitempty"`
}

func (w wanted) Texts() []string { return append(w.Who.Texts(), w.Rule, w.Source) }

func (a api) alerts(w http.ResponseWriter, _ *http.Request) {
	wish.Answer(w, http.StatusOK, alertsAnswer{a.desk.Alerts()})
}

func (a api) silences(w http.ResponseWriter, _ *http.Request) {
	wish.Answer(w, http.StatusOK, silencesAnswer{a.desk.Silences()})
}

func (a api) acknowledge(w http.ResponseWriter, r *http.Request, wanted wish.Who) {
	acknowledged, err := a.desk.Acknowledge(r.Context(), r.PathValue("id"), wanted.By, wanted.Comment)
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	wish.Answer(w, http.StatusOK, acknowledged)
}

func (a api) silence(w http.ResponseWriter, r *http.Request, wanted wanted) {
	if wanted.Rule == "" && wanted.Source == "" && len(wanted.Labels) == 0 {
		wish.Refuse(w, http.StatusBadRequest, `a silence names a rule, a source or labels; "rule": "*" is all`)
		return
	}
	s := alert.Silence{
		Rule: wanted.Rule, Source: wanted.Source, Labels: wanted.Labels,
		From: wanted.From, Until: wanted.Until, By: wanted.By, Comment: wanted.Comment,
	}
	if wanted.Duration != "" {
		length, err := rules.Duration(wanted.Duration)
		if err != nil || length <= 0 {
			wish.Refuse(w, http.StatusBadRequest, "the duration is none, such as 2h or 1d")
			return
		}
		if !wanted.Until.IsZero() {
			wish.Refuse(w, http.StatusBadRequest, "duration and until are given, one is enough")
			return
		}
		s.Until = later(s.From, a.desk.Now()).Add(length)
	}
	if s.Until.Sub(a.desk.Now()) > maxSilence {
		wish.Refuse(w, http.StatusBadRequest, "a silence lasts a year at most")
		return
	}
	begun, err := a.desk.Silence(r.Context(), s)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	wish.Answer(w, http.StatusCreated, begun)
}

// refuse answers why not. That the store is away is nobody's fault who asks.
func refuse(w http.ResponseWriter, status int, err error) {
	if errors.Is(err, alerting.ErrStore) {
		status = http.StatusServiceUnavailable
	}
	wish.Refuse(w, status, err.Error())
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (a api) endSilence(w http.ResponseWriter, r *http.Request, wanted wish.Who) {
	if err := a.desk.EndSilence(r.Context(), r.PathValue("id"), wanted.By); err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
