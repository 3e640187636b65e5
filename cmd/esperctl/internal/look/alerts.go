package look

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
)

// alert is one of Nissa's.
type alert struct {
	ID       string    `json:"id"`
	Rule     string    `json:"rule"`
	Source   string    `json:"source"`
	Severity string    `json:"severity"`
	Summary  string    `json:"summary"`
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Detail   string    `json:"detail"`
	Ack      *struct {
		By string `json:"by"`
	} `json:"ack"`
	SilencedBy []string `json:"silenced_by"`
}

// Alerts are Nissa's, those that have ended lately too; a Nissa without rules has none.
func Alerts(ctx context.Context, service *ask.Service) (found []Raised, err error) {
	var page struct{ Alerts []alert }
	err = service.Get(ctx, "/api/alerts", nil, &page)
	if refused, is := errors.AsType[*ask.RefusedError](err); is && refused.Status == http.StatusNotFound {
		return nil, nil
	}
	for _, a := range page.Alerts {
		found = append(found, a.raised())
	}
	return found, err
}

func alertsOfNissa(ctx context.Context) ([]Raised, error) {
	service, err := nissa()
	if err != nil {
		return nil, err
	}
	return Alerts(ctx, service)
}

// over says of an alert that it neither fires nor is about to.
func over(r Raised) bool { return r.State != "firing" && r.State != "pending" }

func (a *alert) raised() Raised {
	r := Raised{
		ID: a.ID, From: "nissa", Name: a.Rule, Severity: a.Severity, State: a.State, Since: a.Since, Subject: a.Source, Detail: a.Detail,
		Silenced: len(a.SilencedBy) > 0,
	}
	if r.Detail == "" {
		r.Detail = a.Summary
	}
	if a.Ack != nil {
		r.AckedBy = a.Ack.By
	}
	return r
}
