// Package alertapi serves alerts, silences and objectives over HTTP as JSON. What changes
// something needs the token wherever it comes from, and says who asks; what only reads needs it
// where the listener can be reached from other machines.
package alertapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
)

const (
	maxBody    = 64 << 10
	maxText    = 1024
	maxSilence = 366 * 24 * time.Hour
)

// Desk is what is asked; *alerting.Desk is one.
type Desk interface {
	Alerts() []alerting.Shown
	Silences() alert.Silences
	Objectives() []objectives.Status
	Acknowledge(id, by, comment string) (alert.Alert, error)
	Silence(s alert.Silence) (alert.Silence, error)
	EndSilence(id, by string) error
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
	for path, handle := range map[string]func(http.ResponseWriter, *http.Request, wish){
		"POST /api/alerts/{id}/ack": a.acknowledge, "POST /api/silences": a.silence, "DELETE /api/silences/{id}": a.endSilence,
	} {
		mux.Handle(path, guard.Changing(wishing(handle)))
	}
}

type api struct{ desk Desk }

// wish is what somebody wants changed.
type wish struct {
	By       string            `json:"by"`
	Comment  string            `json:"comment"`
	Rule     string            `json:"rule"`
	Source   string            `json:"source"`
	Labels   map[string]string `json:"labels"`
	From     time.Time         `json:"from"`
	Until    time.Time         `json:"until"`
	Duration string            `json:"duration"`
}

// wishing reads what is wanted.
func wishing(next func(http.ResponseWriter, *http.Request, wish)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wanted, err := read(w, r)
		if err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		next(w, r, wanted)
	}
}

func read(w http.ResponseWriter, r *http.Request) (wanted wish, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return wanted, errors.New("the body must be application/json")
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		return wanted, fmt.Errorf("the body is not understood: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return wanted, errors.New("there is more than one value in the body")
	}
	if strings.TrimSpace(wanted.By) == "" {
		return wanted, errors.New("by must say who asks")
	}
	for _, text := range []string{wanted.By, wanted.Comment, wanted.Rule, wanted.Source} {
		if len(text) > maxText {
			return wanted, fmt.Errorf("a text is longer than %d bytes", maxText)
		}
	}
	return wanted, nil
}

func (a api) alerts(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, map[string]any{"alerts": a.desk.Alerts()})
}

func (a api) silences(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, map[string]any{"silences": a.desk.Silences()})
}

func (a api) acknowledge(w http.ResponseWriter, r *http.Request, wanted wish) {
	acknowledged, err := a.desk.Acknowledge(r.PathValue("id"), wanted.By, wanted.Comment)
	if err != nil {
		fail(w, http.StatusNotFound, err.Error())
		return
	}
	respond(w, http.StatusOK, acknowledged)
}

func (a api) silence(w http.ResponseWriter, _ *http.Request, wanted wish) {
	if wanted.Rule == "" && wanted.Source == "" && len(wanted.Labels) == 0 {
		fail(w, http.StatusBadRequest, `a silence names a rule, a source or labels; "rule": "*" is all`)
		return
	}
	s := alert.Silence{
		Rule: wanted.Rule, Source: wanted.Source, Labels: wanted.Labels,
		From: wanted.From, Until: wanted.Until, By: wanted.By, Comment: wanted.Comment,
	}
	if wanted.Duration != "" {
		length, err := time.ParseDuration(wanted.Duration)
		if err != nil || length <= 0 {
			fail(w, http.StatusBadRequest, "the duration is none, such as 2h")
			return
		}
		s.Until = later(s.From, time.Now()).Add(length)
	}
	if time.Until(s.Until) > maxSilence {
		fail(w, http.StatusBadRequest, "a silence lasts a year at most")
		return
	}
	begun, err := a.desk.Silence(s)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	respond(w, http.StatusCreated, begun)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (a api) endSilence(w http.ResponseWriter, r *http.Request, wanted wish) {
	if err := a.desk.EndSilence(r.PathValue("id"), wanted.By); err != nil {
		fail(w, http.StatusNotFound, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func fail(w http.ResponseWriter, status int, why string) {
	respond(w, status, map[string]string{"error": why})
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away; nothing to tell it
}
