package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
	"github.com/esper-lite/weatherlight/nissa/internal/notify"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func sender(t *testing.T, url string) notify.Sender {
	t.Helper()
	s, err := notify.New(rules.Receiver{Name: "them", URL: rules.Conceal(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func alertOf(source, detail string) alert.Alert {
	s := alert.Subject{Rule: "bus_lag", Source: source, Labels: map[string]string{"metric": "normal"}}
	return alert.Alert{
		Subject: s, ID: s.ID(), Meaning: alert.Meaning{Severity: rules.Critical, Summary: "A stream is behind", Runbook: "docs/x.md"},
		State: alert.Firing, Since: noon, Fired: noon.Add(time.Second), Value: 7, Detail: detail,
	}
}

// started is a notification of one alert that fires, and ended of the same that does no more.
func started() grouping.Notification {
	return grouping.Notification{Receiver: "them", Rule: "bus_lag", Firing: []alert.Alert{alertOf("weatherlight", "backlog is 7")}, Left: 1, At: time.Now()}
}

func ended() grouping.Notification {
	a := alertOf("weatherlight", "backlog is 7")
	a.State, a.Ended, a.Reason = alert.Resolved, noon.Add(61*time.Minute), alert.Recovered
	return grouping.Notification{Receiver: "them", Rule: "bus_lag", Resolved: []alert.Alert{a}, At: time.Now()}
}

func TestEachServiceIsSpokenToInItsOwnProtocol(t *testing.T) {
	h := new(heard)
	internet(t, map[string]http.HandlerFunc{
		"hooks.slack.com": slack(h), "discord.com": discord(h), "acme.webhook.office.com": teams(h), "events.pagerduty.com:443": pagerduty(h),
	})
	mail := mailServer(t, h)
	const id = "11111111-4444-4444-8444-cccccccccccc"
	for name, service := range map[string]struct{ url, fired, resolved string }{
		"slack":   {"slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook", "[FIRING critical] bus_lag", "[RESOLVED] bus_lag"},
		"discord": {"discord://token-of-discord@123456", "[FIRING critical] bus_lag", "[RESOLVED] bus_lag"},
		"teams": {
			"teams://" + id + "@" + id + "/" + strings.Repeat("a", 32) + "/" + id + "/V2ESyij_gAljSoUQHvZoZYzlpAoAXExyOl26dlf1xHEx05?host=acme.webhook.office.com",
			"[FIRING critical] bus_lag", "[RESOLVED] bus_lag",
		},
		"pagerduty": {"pagerduty://events.pagerduty.com:443/" + strings.Repeat("a1", 16), "trigger nissa-bus_lag critical", "resolve nissa-bus_lag critical"},
		"smtp": {
			"smtp://" + mail + "/?fromaddress=nissa@example.org&toaddresses=ops@example.org&usestarttls=no&encryption=none",
			"Subject: [FIRING critical] bus_lag", "Subject: [RESOLVED] bus_lag",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.texts = nil
			s := sender(t, service.url)
			for _, step := range []struct {
				n    grouping.Notification
				want []string
			}{
				{started(), []string{service.fired, "weatherlight metric=normal", "backlog is 7", "docs/x.md"}},
				{ended(), []string{service.resolved, "recovered, after 1h1m"}},
			} {
				if err := s.Send(t.Context(), step.n); err != nil {
					t.Fatal(err)
				}
				for _, want := range step.want {
					if !strings.Contains(h.all(), want) {
						t.Errorf("no %q in\n%s", want, h.all())
					}
					if strings.Contains(h.all(), "m0s") {
						t.Errorf("a time as no file has it in\n%s", h.all())
					}
				}
			}
		})
	}
}

func TestWebhooksHaveTheFormOfAlertmanagers(t *testing.T) {
	var body map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	both := started()
	both.Resolved = ended().Resolved
	if err := sender(t, server.URL+"/hook").Send(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	alerts := body["alerts"].([]any)
	first, second := alerts[0].(map[string]any), alerts[1].(map[string]any)
	if body["version"] != "4" || body["status"] != "firing" || first["status"] != "firing" || second["status"] != "resolved" {
		t.Errorf("body %v", body)
	}
	if labels := first["labels"].(map[string]any); labels["alertname"] != "bus_lag" || labels["metric"] != "normal" || labels["source"] != "weatherlight" {
		t.Errorf("labels %v", labels)
	}
	for i, want := range []any{nil, alert.Recovered} {
		if said := alerts[i].(map[string]any)["annotations"].(map[string]any); said["reason"] != want {
			t.Errorf("the reason of a %s alert is %v, want %v", alerts[i].(map[string]any)["status"], said["reason"], want)
		}
	}
}

// No part of an address is in what is said of a failure, however it comes about.
func TestFailuresSayNothingOfTheAddress(t *testing.T) {
	secret := "very-secret-token"
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		http.Error(w, "I do not like "+r.URL.String()+string(body[:0]), http.StatusForbidden)
	}))
	t.Cleanup(echo.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, url := range []string{
		echo.URL + "/" + secret, "alertmanager+" + echo.URL + "/" + secret, gone.URL + "/?key=" + secret,
		"generic+" + echo.URL + "/" + secret, "generic+" + gone.URL + "/" + secret, "http://user:" + secret + "@127.0.0.1:1/x",
		"gotify://127.0.0.1:1/" + secret + "?disabletls=yes",
	} {
		s, err := notify.New(rules.Receiver{Name: "them", URL: rules.Conceal(url)})
		if err == nil {
			err = s.Send(t.Context(), started())
			_ = s.Close(t.Context())
		}
		if err == nil {
			t.Errorf("%s: nothing failed", url)
		} else if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "very") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"://" + secret, secret, "nothing://" + secret, "slack://" + secret, "http://%zz" + secret} {
		_, err := notify.New(rules.Receiver{Name: "them", Line: 7, URL: rules.Conceal(url)})
		if err == nil || strings.Contains(err.Error(), secret) || !strings.HasPrefix(err.Error(), "line 7: receiver them") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestWhatTheBusSaysIsNoMarkup(t *testing.T) {
	h := new(heard)
	internet(t, map[string]http.HandlerFunc{"hooks.slack.com": slack(h)})
	n := started()
	n.Firing[0].Detail = "<!channel> @everyone [here](http://evil) `x`"
	if err := sender(t, "slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook").Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<!channel>", "@everyone", "](", "`"} {
		if strings.Contains(h.all(), bad) {
			t.Errorf("%q is sent: %s", bad, h.all())
		}
	}
}

// A service that does not answer is given up, and is not asked again before it has.
func TestDeliveriesThatHang(t *testing.T) {
	asked, let := make(chan struct{}, 9), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-let }))
	t.Cleanup(server.Close)
	s, err := notify.New(rules.Receiver{Name: "them", URL: rules.Conceal("generic+" + server.URL + "/x")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancel(t.Context())
	go func() { <-asked; giveUp() }()
	if err := s.Send(ctx, started()); err == nil {
		t.Error("it does not hang")
	}
	if err := s.Send(t.Context(), started()); !errors.Is(err, notify.ErrBusy) {
		t.Errorf("a second delivery beside the first: %v", err)
	}
	close(let)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestReceiversWithoutAnAddressHaveNoSender(t *testing.T) {
	if s, err := notify.New(rules.Receiver{Name: "them"}); s != nil || err != nil {
		t.Errorf("%v, %v", s, err)
	}
}
