package nissa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/internal/hooktest"
	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/oona"
)

const (
	warning = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	token   = "a-token-of-tests"
)

// hooked is a webhook of which a test knows what it was told.
type hooked struct{ *hooktest.Hook }

func hook(t *testing.T) *hooked {
	t.Helper()
	return &hooked{hooktest.New(t)}
}

func (h *hooked) all() string {
	var told []string
	for _, a := range h.Told() {
		told = append(told, a.Status+" "+a.Labels["alertname"])
	}
	return strings.Join(told, "; ")
}

func (h *hooked) heard(what string) bool { return strings.Contains(h.all(), what) }

// rulesFile is one with a rule on a metric, and that of the bus.
func rulesFile(t *testing.T, h *hooked) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yml")
	text := fmt.Sprintf(`grouping: {wait: 10ms, interval: 10ms}
receivers: [{name: hook, url: %q}]
rules:
- {name: hot, summary: s, severity: warning, metric: heat, when: value > 9, receivers: hook}
- {name: bus_down, summary: s, severity: critical, metric: nissa.bus.up, when: value < 1, for: 1s, receivers: hook}
`, h.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func alertsOf(path string) *Alerts {
	return &Alerts{Rules: func() ([]byte, string, error) {
		text, err := os.ReadFile(path)
		return text, filepath.Dir(path), err
	}}
}

func runAlerting(t *testing.T, url, rules, store string) (*running, *Service) {
	t.Helper()
	return runAlertingAs(t, "c", url, rules, store)
}

// tokens let in who operates.
func tokens() ([]string, error) { return []string{token}, nil }

func runAlertingAs(t *testing.T, name, url, rules, store string) (*running, *Service) {
	t.Helper()
	service, err := New(Config{
		Bus: connectAs(t, url, secret, name), Name: name, HTTP: HTTP{Addr: "127.0.0.1:0", Tokens: tokens}, Alerts: alertsOf(rules), Store: Store{URL: store},
	})
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
		h, store := hook(t), sqliteURL(t)
		path := rulesFile(t, h)
		r, _ := runAlerting(t, url, path, store)
		sender := connect(t, url, secret)
		urgent := packet("oven").Metric("heat", 12, "").Build()
		publish(t, sender.PublishTelemetry(t.Context(), urgent, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL))
		r.eventually("the alert at the webhook", func() bool { return h.heard("firing hot") })
		r.eventually("the alert over HTTP", func() bool {
			status, body := r.get("/api/alerts")
			return status == http.StatusOK && strings.Contains(body, `"rule":"hot"`)
		})
		r.shows(`nissa_alerts{rule="hot",severity="warning",state="firing"} 1`)
		r.eventually("all is heard", func() bool {
			streams := oona.DefaultStreams()
			reached, err := reach(sender.Admin(), "nissa-service", streams.Telemetry, streams.Emergency, "none")(t.Context())
			is := reached[streams.Emergency]
			return err == nil && is.Written != alerting.Place{} && is.Read == is.Written && reached["none"] == alerting.Reach{}
		})
		r.eventually("the alert on the bus", func() bool {
			return strings.Contains(metrics(r), `esper_telemetry_packets_total{source="nissa"}`)
		})
		r.stop()

		r, _ = runAlerting(t, url, path, store)
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
	r, _ := runAlerting(t, redis.URL, rulesFile(t, h), "")
	redis.Kill()
	r.eventually("the alert", func() bool { return h.heard("firing bus_down") })
	redis.Restart()
	r.eventually("its end", func() bool { return h.heard("resolved bus_down") })
}

func TestRulesAreReadAgainWhileItRuns(t *testing.T) {
	t.Parallel()
	h, url := hook(t), embeddedURL(t)
	path := rulesFile(t, h)
	r, service := runAlerting(t, url, path, "")
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
		return []byte("rules: [{name: twice, summary: s, severity: info, event: e, count: 2, quiet: 1h, by: of}]"), "", nil
	}
	repeated := &oona.Delivery{Stream: "oona.telemetry", ID: "1-1", Payload: packet("oven").Event("e", warning, "of", "one").Build()}
	bus, stored := connect(t, embeddedURL(t), secret), sqliteURL(t)
	for n, c := range []struct{ name, store string }{{"no store", ""}, {"a store", stored}, {"the same store after a restart", stored}} {
		service, err := New(Config{Bus: bus, Store: Store{URL: c.store}, Alerts: &Alerts{Rules: rules}})
		if err == nil {
			err = service.openStore(t.Context())
		}
		if err != nil {
			t.Fatal(c.name, err)
		}
		last := &oona.Delivery{Stream: "oona.telemetry", ID: fmt.Sprint(n, "-2"), Payload: packet("oven").Event("e", warning, "of", c.name).Build()}
		for _, d := range []*oona.Delivery{repeated, repeated, repeated, last} {
			if _, err := service.handle(t.Context(), d); err != nil {
				t.Fatal(c.name, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var judging sync.WaitGroup
		judging.Go(func() { err = service.desk.Run(ctx) })
		state := func(of string) (state string) {
			for _, a := range service.desk.Alerts() {
				if a.Labels["of"] == of {
					state = fmt.Sprint(a.State, a.Streak)
				}
			}
			return state
		}
		(&running{t: t}).eventually(c.name+": all is judged", func() bool { return state(c.name) == "pending1" })
		if got := state("one"); got != "pending1" {
			t.Errorf("%s: %s", c.name, got)
		}
		cancel()
		judging.Wait()
		if err := errors.Join(err, service.closeStore()); err != nil {
			t.Error(err)
		}
	}
}

// Two services share the work and the alerts: what makes one is told to both in turns and it is told
// once, what is wanted of one holds at the other, and when the one that judges ends the other goes on.
func TestServicesThatShareAStoreAlertAsOne(t *testing.T) {
	t.Parallel()
	bus, database, h := redistest.Start(t), pgtest.Start(t), hook(t)
	path := filepath.Join(t.TempDir(), "rules.yml")
	text := fmt.Sprintf("grouping: {wait: 10ms, interval: 10ms}\nreceivers: [{name: hook, url: %q}]\n", h.URL) +
		"rules: [{name: hot, summary: s, severity: info, metric: heat, by: run, when: value > 9, count: 4, receivers: hook}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	judge, _ := runAlertingAs(t, "judge", bus.URL, path, database.URL(""))
	judge.shows("nissa_alerts_judging 1")
	other, _ := runAlertingAs(t, "other", bus.URL, path, database.URL(""))
	other.shows("nissa_alerts_judging 0")
	sender := connectAs(t, bus.URL, secret, "sender")
	normal := leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
	heat := func(value float64, run string) {
		publish(t, sender.PublishTelemetry(t.Context(), packet("oven").Metric("heat", value, "", "run", run).Build(), normal))
	}
	share := func(r *running) bool {
		return strings.Contains(metrics(r), `esper_telemetry_packets_total{source="oven"}`)
	}
	judge.eventually("both take a share of the work", func() bool {
		heat(12, "a")
		return share(judge) && share(other)
	})
	var listed struct{ Alerts []struct{ ID, State string } }
	for name, r := range map[string]*running{"judge": judge, "other": other} {
		r.eventually("the alert at the "+name, func() bool {
			heat(12, "a") // what overtakes another says nothing
			return r.answers("/api/alerts", &listed) && len(listed.Alerts) == 1 && listed.Alerts[0].State == "firing"
		})
	}
	judge.eventually("the alert at the webhook", func() bool { return h.heard("firing hot") })
	for path, body := range map[string]string{
		"/api/alerts/" + listed.Alerts[0].ID + "/ack": `{"by": "ann"}`,
		"/api/silences": `{"by": "ann", "rule": "hot", "labels": {"run": "b"}, "duration": "1h"}`,
	} {
		other.changes(path, body)
	}
	for _, r := range []*running{judge, other} {
		for path, what := range map[string]string{"/api/alerts": `"by":"ann"`, "/api/silences": `"by":"ann"`} {
			if _, body := r.get(path); !strings.Contains(body, what) {
				t.Errorf("%s: %s", path, body)
			}
		}
	}
	judge.stop()
	other.shows("nissa_alerts_judging 1")
	for range 4 {
		heat(12, "b")
	}
	heat(1, "a")
	other.eventually("the end at the webhook", func() bool { return h.heard("resolved hot") })
	if told := h.all(); told != "firing hot; resolved hot" {
		t.Errorf("told: %s", told)
	}
}

// changes asks for a change, with the token.
func (r *running) changes(path, body string) {
	r.t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		r.t.Errorf("%s answers %s", path, response.Status)
	}
}

// Who asked for a silence, for its end or took an alert up stands in the feed once he is answered, though the bus
// cannot be told; when it can, it stands there once.
func TestWhatSomebodyWantsOfAlertsIsInTheFeed(t *testing.T) {
	t.Parallel()
	redis, h := redistest.Start(t), hook(t)
	r, _ := runAlerting(t, redis.URL, rulesFile(t, h), sqliteURL(t))
	hot := packet("oven").Metric("heat", 12, "").Build()
	publish(t, connectAs(t, redis.URL, secret, "sender").PublishTelemetry(t.Context(), hot, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL))
	r.eventually("the alert at the webhook", func() bool { return h.heard("firing hot") })
	var shown struct{ Alerts []struct{ ID string } }
	if !r.answers("/api/alerts", &shown) {
		t.Fatal("no alerts")
	}
	feed := func() (told string) {
		var events struct {
			Events []struct {
				Name    string
				Details map[string]string
			}
		}
		if !r.answers("/api/events?after=0&limit=1000", &events) {
			t.Fatal("no feed")
		}
		for _, e := range events.Events {
			if by := e.Details["by"]; by != "" {
				told += fmt.Sprintln(by, e.Name, e.Details["comment"], e.Details["label_run"])
			}
		}
		return told
	}
	redis.Kill()
	ask := func(method, path, body string, into any) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if into != nil {
			err = json.NewDecoder(response.Body).Decode(into)
		}
		if err != nil || response.StatusCode >= 300 {
			t.Fatalf("%s: %s, %v", path, response.Status, err)
		}
	}
	var silence struct{ ID string }
	ask(http.MethodPost, "/api/silences", `{"by":"ann","comment":"at work","rule":"hot","labels":{"run":"b"},"duration":"1h"}`, &silence)
	ask(http.MethodPost, "/api/alerts/"+shown.Alerts[0].ID+"/ack", `{"by":"bob","comment":"mine"}`, nil)
	ask(http.MethodDelete, "/api/silences/"+silence.ID, `{"by":"cid"}`, nil)
	const want = "ann silence_begun at work b\nbob alert_acknowledged mine \ncid silence_ended  \n"
	if got := feed(); got != want {
		t.Errorf("in the feed is\n%swanted\n%s", got, want)
	}
	redis.Restart()
	more := 0
	r.eventually("the bus hears of one, and Nissa again", func() bool {
		ask(http.MethodPost, "/api/silences", `{"by":"dot","rule":"hot","duration":"1h"}`, &silence)
		more++
		return strings.Contains(metrics(r), `nissa_repeated_messages_total{type="telemetry"}`)
	})
	if got := feed(); got != want+strings.Repeat("dot silence_begun  \n", more) {
		t.Errorf("in the feed is\n%s after %d more", got, more)
	}
}
