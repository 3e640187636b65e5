package nissa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

const (
	warning = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	token   = "a-token-of-tests"
)

// hooked is a webhook that takes down what it is told.
type hooked struct {
	url string

	mu   sync.Mutex
	told []string
}

func hook(t *testing.T) *hooked {
	t.Helper()
	h := new(hooked)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Alerts []struct {
				Status string
				Labels map[string]string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, a := range body.Alerts {
			h.told = append(h.told, a.Status+" "+a.Labels["alertname"])
		}
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

func (h *hooked) heard(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Contains(strings.Join(h.told, "; "), what)
}

// rulesFile is one with a rule on a metric, and that of the bus.
func rulesFile(t *testing.T, h *hooked) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yml")
	text := fmt.Sprintf(`grouping: {wait: 10ms, interval: 10ms}
receivers: [{name: hook, url: %q}]
rules:
- {name: hot, summary: s, severity: warning, metric: heat, when: value > 9, receivers: hook}
- {name: bus_down, summary: s, severity: critical, metric: nissa.bus.up, when: value < 1, for: 1s, receivers: hook}
`, h.url)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func alertsOf(path, dir string) *Alerts {
	return &Alerts{Dir: dir, Rules: func() ([]byte, string, error) {
		text, err := os.ReadFile(path)
		return text, filepath.Dir(path), err
	}}
}

func runAlerting(t *testing.T, url string, alerts *Alerts) (*running, *Service) {
	t.Helper()
	service, err := New(Config{Bus: connect(t, url, secret), HTTPAddr: "127.0.0.1:0", Alerts: alerts, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() {
		if err := service.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	r := &running{t: t, stop: sync.OnceFunc(func() { cancel(); loop.Wait() })}
	t.Cleanup(r.stop)
	r.eventually("an HTTP address", func() bool { return service.Addr() != "" })
	r.addr = service.Addr()
	return r.ready(), service
}

func TestWhatIsSaidOnTheBusRaisesAlertsThatArrive(t *testing.T) {
	onEveryBus(t, func(t *testing.T, url string) {
		h, dir := hook(t), t.TempDir()
		path := rulesFile(t, h)
		r, _ := runAlerting(t, url, alertsOf(path, dir))
		sender := connect(t, url, secret)
		urgent := packet("oven").Metric("heat", 12, "").Build()
		publish(t, sender.PublishTelemetry(t.Context(), urgent, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL))
		r.eventually("the alert at the webhook", func() bool { return h.heard("firing hot") })
		r.eventually("the alert over HTTP", func() bool {
			status, body := r.get("/api/alerts")
			return status == http.StatusOK && strings.Contains(body, `"rule":"hot"`)
		})
		r.shows(`nissa_alerts{rule="hot",severity="warning",state="firing"} 1`)
		r.eventually("the alert on the bus", func() bool {
			return strings.Contains(metrics(r), `esper_telemetry_packets_total{source="nissa"}`)
		})
		r.stop()

		r, _ = runAlerting(t, url, alertsOf(path, dir))
		normal := leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
		publish(t, sender.PublishTelemetry(t.Context(), packet("oven").Metric("heat", 1, "").Build(), normal))
		r.eventually("its end at the webhook", func() bool { return h.heard("resolved hot") })
	})
}

func metrics(r *running) string {
	_, body := r.get("/metrics")
	return body
}

func TestABusThatIsGoneIsAnAlert(t *testing.T) {
	t.Parallel()
	redis, h := redistest.Start(t), hook(t)
	r, _ := runAlerting(t, redis.URL, alertsOf(rulesFile(t, h), ""))
	redis.Kill()
	r.eventually("the alert", func() bool { return h.heard("firing bus_down") })
	redis.Restart()
	r.eventually("its end", func() bool { return h.heard("resolved bus_down") })
}

func TestRulesAreReadAgainWhileItRuns(t *testing.T) {
	t.Parallel()
	h, url := hook(t), embeddedURL(t)
	path := rulesFile(t, h)
	r, service := runAlerting(t, url, alertsOf(path, ""))
	if err := os.WriteFile(path, []byte("rules: 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := service.Reload(t.Context()); err == nil {
		t.Error("a bad file is taken")
	}
	normal := leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
	publish(t, connect(t, url, secret).PublishTelemetry(t.Context(), packet("oven").Metric("heat", 12, "").Build(), normal))
	r.eventually("an alert of the old rules", func() bool { return h.heard("firing hot") })
}

func TestRulesThatAreNotInOrderKeepNissaFromStarting(t *testing.T) {
	t.Parallel()
	bus := connect(t, embeddedURL(t), secret)
	_, err := New(Config{Bus: bus, Alerts: &Alerts{Rules: func() ([]byte, string, error) { return []byte("rules: 3"), "", nil }}})
	if !errors.Is(err, ErrRules) {
		t.Errorf("error %v", err)
	}
}

// A packet that is delivered twice is one observation, and what a restart finds in the store
// was one before.
func TestRepeatedPacketsAreNoSecondObservation(t *testing.T) {
	t.Parallel()
	rules := func() ([]byte, string, error) {
		return []byte("rules: [{name: twice, summary: s, severity: info, event: e, count: 2, quiet: 1h}]"), "", nil
	}
	one := &oona.Delivery{Stream: "oona.telemetry", ID: "1-1", Payload: packet("oven").Event("e", warning).Build()}
	bus, stored := connect(t, embeddedURL(t), secret), sqliteURL(t)
	for _, c := range []struct {
		name, store string
		alerts      int
	}{{"no store", "", 1}, {"a store", stored, 1}, {"the same store after a restart", stored, 0}} {
		service, err := New(Config{Bus: bus, Store: Store{URL: c.store}, Alerts: &Alerts{Rules: rules}})
		if err == nil {
			err = service.openStore(t.Context())
		}
		for range 3 {
			if err != nil {
				t.Fatal(c.name, err)
			}
			_, err = service.handle(t.Context(), one)
		}
		if alerts := service.desk.Alerts(); err != nil || len(alerts) != c.alerts || len(alerts) > 0 && alerts[0].State != "pending" {
			t.Errorf("%s: alerts %+v, error %v", c.name, alerts, err)
		}
		if err := service.closeStore(); err != nil {
			t.Error(err)
		}
	}
}
