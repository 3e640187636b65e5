package nissa

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/internal/redistest"
)

// What is known of runs is no more for everybody's eyes than what is known of alerts.
func TestN23WhoMayAskNissa(t *testing.T) {
	shipped := func() ([]byte, string, error) { return ShippedRules(Thresholds{}), "", nil }
	service, err := New(Config{
		Bus: connect(t, redistest.Start(t).URL, secret), Store: Store{URL: sqliteURL(t)}, Alerts: &Alerts{Rules: shipped}, HTTP: HTTP{Tokens: tokens},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.openStore(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.closeStore(); err != nil {
			t.Error(err)
		}
	})
	documentHoldsTheRoutes(t, service)
	here, everywhere := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4zero}
	for _, c := range []struct {
		path             string
		stranger, friend int // their answers where other machines ask
	}{
		{"/api/runs", 401, 200}, {"/api/openapi.json", 401, 200}, {"/api/store", 401, 200}, {"/api/runs/none/export", 401, 404},
		{"/api/stream?after=x", 401, 400}, {"/api/none", 401, 404}, {"/api/alerts", 401, 200}, {"/metrics/summary", 401, 200},
		{"/metrics", 401, 200}, {"/none", 401, 404},
		{"/healthz", 200, 200}, {"/readyz", 503, 503}, {"/", 200, 200}, {"/page.js", 200, 200}, {"/page.css", 200, 200}, {"/icon.svg", 200, 200},
	} {
		ask := func(listener net.Addr, header string) int {
			asked := httptest.NewRequest(http.MethodGet, c.path, http.NoBody)
			asked.Header.Set("Authorization", header)
			got := httptest.NewRecorder()
			service.handler(httpserver.NewGuard(listener, token)).ServeHTTP(got, asked)
			return got.Code
		}
		stranger, friend, near := ask(everywhere, ""), ask(everywhere, "Bearer "+token), ask(here, "")
		if stranger != c.stranger || friend != c.friend || near != c.friend {
			t.Errorf("%s: %d for a stranger, %d with the token, %d on this machine", c.path, stranger, friend, near)
		}
	}
}

// TestNissaThatOthersReachNeedsAToken, whoever starts it.
func TestNissaThatOthersReachNeedsAToken(t *testing.T) {
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret), HTTP: HTTP{Addr: "0.0.0.0:0"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "NISSA_HTTP_TOKEN is not set") {
		t.Errorf("Run = %v", err)
	}
}

// Whatever is served below /api is described, with the answer for who may not ask.
func documentHoldsTheRoutes(t *testing.T, service *Service) {
	t.Helper()
	got := httptest.NewRecorder()
	service.handler(httpserver.NewGuard(&net.UnixAddr{}, "")).ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/api/openapi.json", http.NoBody))
	var document struct {
		Paths map[string]map[string]struct{ Responses map[string]any }
	}
	if err := json.Unmarshal(got.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	described := 0
	for _, methods := range document.Paths {
		described += len(methods)
	}
	routes := service.routes()
	for _, r := range routes {
		if document.Paths[r.Path][strings.ToLower(r.Method)].Responses["401"] == nil {
			t.Errorf("the document does not describe %s, or not who may", r.Pattern())
		}
	}
	if described != len(routes) {
		t.Errorf("%d routes are described, %d are served", described, len(routes))
	}
}
