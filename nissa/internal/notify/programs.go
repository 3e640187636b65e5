package notify

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
)

const jsonType = "application/json"

// alertmanager posts alerts to the v2 API of Alertmanager.
type alertmanager struct {
	client

	address string
}

func newAlertmanager(address *url.URL, hide redactor) *alertmanager {
	target := *address
	target.Scheme = strings.TrimPrefix(target.Scheme, "alertmanager+")
	return &alertmanager{newClient(hide), target.JoinPath("api", "v2", "alerts").String()}
}

func (a *alertmanager) Program() bool { return true }

// posted is an alert as the v2 API takes it.
type posted struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

func (a *alertmanager) Send(ctx context.Context, n grouping.Notification) error {
	var alerts []posted
	until := n.At.Add(5 * Keepalive) // Alertmanager takes it for gone when it hears nothing more
	for _, one := range n.Firing {
		alerts = append(alerts, posted{labelsOf(one), annotationsOf(one), one.Fired, until})
	}
	for _, one := range n.Resolved {
		alerts = append(alerts, posted{labelsOf(one), annotationsOf(one), one.Fired, one.Ended})
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return err
	}
	return a.post(ctx, a.address, jsonType, body)
}

func labelsOf(a alert.Alert) map[string]string {
	labels := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if text := a.Labels[name]; text != "" {
			labels[labelName(name)] = text
		}
	}
	labels["alertname"], labels["severity"] = a.Rule, a.Severity
	if a.Source != "" {
		labels["source"] = a.Source
	}
	return labels
}

// labelName is what Prometheus allows of a name.
func labelName(name string) string {
	cleaned := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	if cleaned == "" || cleaned[0] >= '0' && cleaned[0] <= '9' {
		return "_" + cleaned
	}
	return cleaned
}

func annotationsOf(a alert.Alert) map[string]string {
	annotations := map[string]string{"summary": a.Summary, "detail": a.Detail, "nissa_id": a.ID}
	if a.Runbook != "" {
		annotations["runbook"] = a.Runbook
	}
	if a.Reason != "" {
		annotations["reason"] = a.Reason
	}
	return annotations
}

// webhook posts notifications in the form in which Alertmanager posts its own, version 4.
type webhook struct {
	client

	address string
}

func newWebhook(address *url.URL, hide redactor) *webhook {
	return &webhook{newClient(hide), address.String()}
}

func (w *webhook) Program() bool { return false }

type hooked struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Alerts            []hookedAlert     `json:"alerts"`
}

type hookedAlert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Fingerprint string            `json:"fingerprint"`
	Value       alert.Number      `json:"value"`
}

const (
	firing   = "firing"
	resolved = "resolved"
)

func (w *webhook) Send(ctx context.Context, n grouping.Notification) error {
	meaning := meaningOf(n)
	status := firing
	if len(n.Firing) == 0 {
		status = resolved
	}
	body := hooked{
		Version: "4", GroupKey: n.Receiver + "/" + n.Rule, Status: status, Receiver: n.Receiver,
		GroupLabels:       map[string]string{"alertname": n.Rule},
		CommonLabels:      map[string]string{"alertname": n.Rule, "severity": meaning.Severity},
		CommonAnnotations: map[string]string{"summary": meaning.Summary},
	}
	for _, one := range n.Firing {
		body.Alerts = append(body.Alerts, hookedAlert{firing, labelsOf(one), annotationsOf(one), one.Fired, time.Time{}, one.ID, one.Value})
	}
	for _, one := range n.Resolved {
		body.Alerts = append(body.Alerts, hookedAlert{resolved, labelsOf(one), annotationsOf(one), one.Fired, one.Ended, one.ID, one.Value})
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return w.post(ctx, w.address, jsonType, text)
}
