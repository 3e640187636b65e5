package nissa

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// What is known of runs is no more for everybody's eyes than what is known of alerts.
func TestN23WhoMayAskNissa(t *testing.T) {
	shipped := func() ([]byte, string, error) { return ShippedRules(Thresholds{}), "", nil }
	service, err := New(Config{
		Bus: connect(t, redistest.Start(t).URL, secret), Store: Store{URL: sqliteURL(t)}, Alerts: &Alerts{Rules: shipped}, Token: token,
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
	here, everywhere := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4zero}
	for _, c := range []struct {
		path             string
		stranger, friend int // their answers where other machines ask
	}{
		{"/api/runs", 401, 200}, {"/api/openapi.json", 401, 200}, {"/api/store", 401, 200}, {"/api/runs/none/export", 401, 404},
		{"/api/stream?after=x", 401, 400}, {"/api/none", 401, 404}, {"/api/alerts", 401, 200}, {"/metrics/summary", 401, 200},
		{"/metrics", 200, 200}, {"/healthz", 200, 200},
	} {
		ask := func(listener net.Addr, header string) int {
			service.listener = listener
			asked := httptest.NewRequest(http.MethodGet, c.path, http.NoBody)
			asked.Header.Set("Authorization", header)
			got := httptest.NewRecorder()
			service.handler().ServeHTTP(got, asked)
			return got.Code
		}
		stranger, friend, near := ask(everywhere, ""), ask(everywhere, "Bearer "+token), ask(here, "")
		if stranger != c.stranger || friend != c.friend || near != c.friend {
			t.Errorf("%s: %d for a stranger, %d with the token, %d on this machine", c.path, stranger, friend, near)
		}
	}
}
