// Package alertapi serves alerts, silences and objectives over HTTP as JSON. What changes
// something needs the token wherever it comes from, and says who asks; what only reads needs it
// where the listener can be reached from other machines.
package alertapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/nissa/internal/wish"
)

const (
	maxSilence = 366 * 24 * time.Hour
)

// Desk is what is asked; *alerting.Desk is one.
type Desk interface {
	Alerts() []alerting.Shown
	Silences() alert.Silences
	Objectives() []objectives.Status
	Acknowledge(ctx context.Context, id, by, comment string) (alert.Alert, error)
	Silence(ctx context.Context, s alert.Silence) (alert.Silence, error)
	EndSilence(ctx context.Context, id, by string) error
}

// Register adds the paths to mux, behind the guard.
func Register(mux *http.ServeMux, desk Desk, guard httpserver.Guard) {
	a := api{desk: desk}
	for path, handle := range map[string]http.HandlerFunc{
		"GET /api/alerts": a.alerts, "GET /api/silences": a.silences,
		"GET /api/objectives": a.objectives, "GET /metrics/summary": a.summary,
	} {
		mux.Handle(path, guard.Reading(handle))
	}
	for path, handle := range map[string]func(http.ResponseWriter, *http.Request, wanted){
		"POST /api/alerts/{id}/ack": a.acknowledge, "POST /api/silences": a.silence, "DELETE /api/silences/{id}": a.endSilence,
	} {
		mux.Handle(path, guard.Changing(wish.Handler(handle)))
	}
}

type api struct{ desk Desk }

// wanted is what somebody wants changed.
type wanted struct {
	wish.Who

	Rule     string            `json:"rule"`
	Source   string            `json:"source"`
	Labels   map[string]string `json:"labels"`
	From     time.Time         `json:"from"`
	Until    time.Time         `json:"until"`
	Duration string            `json:"duration"`
}

func (w wanted) Texts() []string { return append(w.Who.Texts(), w.Rule, w.Source) }

func (a api) alerts(w http.ResponseWriter, _ *http.Request) {
	wish.Answer(w, http.StatusOK, map[string]any{"alerts": a.desk.Alerts()})
}

func (a api) silences(w http.ResponseWriter, _ *http.Request) {
	wish.Answer(w, http.StatusOK, map[string]any{"silences": a.desk.Silences()})
}

func (a api) acknowledge(w http.ResponseWriter, r *http.Request, wanted wanted) {
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
		s.Until = later(s.From, time.Now()).Add(length)
	}
	if time.Until(s.Until) > maxSilence {
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

func (a api) endSilence(w http.ResponseWriter, r *http.Request, wanted wanted) {
	if err := a.desk.EndSilence(r.Context(), r.PathValue("id"), wanted.By); err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
