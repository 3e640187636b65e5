package alertapi_test

import (
	"encoding/json"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alertapi"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/telemetry"
)

const file = `
rules: [{name: hot, summary: It is hot, severity: warning, metric: heat, when: value > 9, by: run}]
objectives: [{name: cool, summary: s, target: 0.5, window: 1h, metric: heat, good: value < 9}]
`

func desk(t *testing.T) *alerting.Desk {
	t.Helper()
	d, err := alerting.New(alerting.Config{Read: func() ([]byte, string, error) { return []byte(file), "", nil }})
	if err != nil {
		t.Fatal(err)
	}
	d.Observe(telemetry.New("oven", "p").Metric("heat", math.Inf(1), "", "run", "<script>").Build())
	return d
}

var (
	local  = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	remote = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}
)

const token = "sixteen-letters-or-more"

type server struct {
	mux http.Handler
	t   *testing.T
}

func serve(t *testing.T, d *alerting.Desk, listener net.Addr, token string) server {
	t.Helper()
	mux := http.NewServeMux()
	guard := httpserver.NewGuard(listener, token)
	route.Register(mux, guard, alertapi.Routes(d))
	return server{guard.Beyond(mux), t}
}

// ask returns the status and the body, as JSON into answer.
func (s server) ask(method, path, body string, answer any, headers ...string) int {
	s.t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	got := httptest.NewRecorder()
	s.mux.ServeHTTP(got, request)
	if answer != nil {
		if err := json.Unmarshal(got.Body.Bytes(), answer); err != nil {
			s.t.Errorf("%s %s: %v in %s", method, path, err, got.Body)
		}
	}
	return got.Code
}

// A reader goes through lists: one that is empty is not null.
func TestListsWithoutAnythingAreEmpty(t *testing.T) {
	empty, err := alerting.New(alerting.Config{Read: func() ([]byte, string, error) { return []byte("rules: []"), "", nil }})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, empty, local, token)
	for path, list := range map[string]string{"/api/alerts": "alerts", "/api/silences": "silences", "/api/objectives": "objectives"} {
		var shown map[string][]any
		if s.ask("GET", path, "", &shown); shown[list] == nil || len(shown[list]) != 0 {
			t.Errorf("%s: %v", path, shown)
		}
	}
}

func TestAlertsAreShownAcknowledgedAndSilenced(t *testing.T) {
	s := serve(t, desk(t), local, token)
	var shown struct{ Alerts []alerting.Shown }
	if code := s.ask("GET", "/api/alerts", "", &shown, "Authorization", ""); code != 200 || len(shown.Alerts) != 1 {
		t.Fatalf("%d: %+v", code, shown)
	}
	one := shown.Alerts[0]
	if one.Rule != "hot" || one.State != alert.Firing || !math.IsInf(float64(one.Value), 1) || one.Labels["run"] != "<script>" {
		t.Errorf("%+v", one)
	}
	var acknowledged alert.Alert
	if code := s.ask("POST", "/api/alerts/"+one.ID+"/ack", `{"by": "ann", "comment": "on it"}`, &acknowledged); code != 200 || acknowledged.Ack.By != "ann" {
		t.Errorf("%d: %+v", code, acknowledged)
	}
	var begun alert.Silence
	if code := s.ask("POST", "/api/silences", `{"by": "ann", "rule": "hot", "duration": "2h"}`, &begun); code != 201 || time.Until(begun.Until) < time.Hour {
		t.Fatalf("%d: %+v", code, begun)
	}
	s.ask("GET", "/api/alerts", "", &shown)
	if got := shown.Alerts[0]; len(got.SilencedBy) != 1 || got.SilencedBy[0] != begun.ID {
		t.Errorf("%+v", got)
	}
	var silences struct{ Silences []alert.Silence }
	if s.ask("GET", "/api/silences", "", &silences); len(silences.Silences) != 1 {
		t.Errorf("%+v", silences)
	}
	if code := s.ask("DELETE", "/api/silences/"+begun.ID, `{"by": "bob"}`, nil); code != 204 {
		t.Errorf("the end of a silence: %d", code)
	}
}

func TestObjectivesAreShown(t *testing.T) {
	s := serve(t, desk(t), local, "")
	var shown struct{ Objectives []map[string]any }
	s.ask("GET", "/api/objectives", "", &shown)
	if len(shown.Objectives) != 1 || shown.Objectives[0]["name"] != "cool" || shown.Objectives[0]["budget_left"] != -1.0 {
		t.Errorf("%+v", shown)
	}
	if rates := shown.Objectives[0]["burn_rates"].(map[string]any); shown.Objectives[0]["window"] != "1h" || rates["6m"] == nil {
		t.Errorf("windows are not as a file has them: %+v", shown)
	}
	var summary struct {
		SLO    map[string]struct{ Total, Violations, Burn_rate float64 }
		Alerts map[string]struct{ Source string }
	}
	s.ask("GET", "/metrics/summary", "", &summary)
	if summary.SLO["cool"].Violations != 1 || summary.SLO["cool"].Burn_rate != 2 || summary.Alerts["hot"].Source != "oven" {
		t.Errorf("%+v", summary)
	}
}

func TestWhoMayAsk(t *testing.T) {
	const wish = `{"by": "me", "rule": "hot", "duration": "1h"}`
	for name, c := range map[string]struct {
		listener      net.Addr
		token, given  string
		reads, writes int
	}{
		"with the token":         {local, token, "Bearer " + token, 200, 201},
		"from elsewhere":         {remote, token, "Bearer " + token, 200, 201},
		"without":                {local, token, "", 200, 401},
		"without, elsewhere":     {remote, token, "", 401, 401},
		"another":                {local, token, "Bearer another", 200, 401},
		"another, elsewhere":     {remote, token, "Bearer another", 401, 401},
		"another scheme":         {remote, token, "Basic " + token, 401, 401},
		"none is set":            {local, "", "Bearer ", 200, 401},
		"none is set, elsewhere": {remote, "", "Bearer ", 401, 401},
	} {
		s := serve(t, desk(t), c.listener, c.token)
		reads := s.ask("GET", "/api/alerts", "", nil, "Authorization", c.given)
		writes := s.ask("POST", "/api/silences", wish, nil, "Authorization", c.given)
		if reads != c.reads || writes != c.writes {
			t.Errorf("%s: reads %d, writes %d", name, reads, writes)
		}
	}
}

func TestWishesThatAreRefused(t *testing.T) {
	s := serve(t, desk(t), local, token)
	for body, want := range map[string]int{
		`{"rule": "hot", "duration": "1h"}`:                                                              400, // who?
		`{"by": " ", "rule": "hot", "duration": "1h"}`:                                                   400,
		`{"by": "me", "duration": "1h"}`:                                                                 400, // of what?
		`{"by": "me", "rule": "hot"}`:                                                                    400, // until when?
		`{"by": "me", "rule": "hot", "duration": "-1h"}`:                                                 400,
		`{"by": "me", "rule": "hot", "duration": "soon"}`:                                                400,
		`{"by": "me", "rule": "hot", "until": "2001-01-01T00:00:00Z"}`:                                   400,
		`{"by": "me", "rule": "hot", "duration": "99999h"}`:                                              400,
		`{"by": "me", "rule": "hott", "duration": "1h"}`:                                                 400, // there is none
		`{"by": "me", "rule": "x*", "duration": "1h"}`:                                                   400,
		`{"by": "me", "rule": "hot", "duration": "1h", "until": "2101-01-01T00:00:00Z"}`:                 400, // which?
		`{"by": "me", "rule": "hot", "duration": "1h", "more": 1}`:                                       400,
		`{"by": "me", "rule": "hot", "duration": "1h"}{}`:                                                400,
		`{"by": "me", "rule": "` + strings.Repeat("x", 2000) + `", "duration": "1h"}`:                    400,
		`{"by": "me", "rule": "hot", "duration": "1h", "comment": "` + strings.Repeat("x", 70000) + `"}`: 400,
		``: 400,
	} {
		if got := s.ask("POST", "/api/silences", body, nil); got != want {
			t.Errorf("%.80s: %d", body, got)
		}
	}
	for _, body := range []string{
		`{"by": "me", "rule": "h*", "duration": "1d"}`, `{"by": "me", "rule": "*", "duration": "1w"}`, `{"by": "me", "rule": "cool", "duration": "1h"}`,
		`{"by": "me", "source": "oven", "until": "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`,
	} {
		if got := s.ask("POST", "/api/silences", body, nil); got != 201 {
			t.Errorf("%s: %d", body, got)
		}
	}
	for path, method := range map[string]string{"/api/alerts/none/ack": "POST", "/api/silences/none": "DELETE"} {
		if got := s.ask(method, path, `{"by": "me"}`, nil); got != 404 {
			t.Errorf("%s %s: %d", method, path, got)
		}
	}
	if got := s.ask("POST", "/api/silences", `{"by": "me", "rule": "hot", "duration": "1h"}`, nil, "Content-Type", "text/plain"); got != 400 {
		t.Errorf("a form of a page elsewhere: %d", got)
	}
}
