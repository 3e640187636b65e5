package httpapi

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/internal/httpserver"
)

// here is the guard of a listener that only this machine reaches.
var here = httpserver.NewGuard(&net.UnixAddr{}, "")

func TestServiceWhoseSupervisorHangsIsNotHealthy(t *testing.T) {
	metrics := prometheus.NewRegistry()
	for _, test := range []struct {
		alive  bool
		code   int
		status string
	}{
		{true, http.StatusOK, "ok"},
		{false, http.StatusServiceUnavailable, "supervisor does not answer"},
	} {
		alive := func(ctx context.Context) bool {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the question has no bound")
			}
			return test.alive
		}
		answer := httptest.NewRecorder()
		Handler(Config{Alive: alive, Metrics: metrics}, here).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		var body map[string]string
		if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if answer.Code != test.code || body["status"] != test.status {
			t.Errorf("alive %v: %d %v, want %d %q", test.alive, answer.Code, body, test.code, test.status)
		}
	}
}

func TestAddressAloneSaysWhatThereIs(t *testing.T) {
	handler := Handler(Config{Metrics: prometheus.NewRegistry()}, here)
	for path, code := range map[string]int{"/": http.StatusOK, "/nothing": http.StatusNotFound} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		var paths map[string]string
		if answer.Code != code || code == http.StatusOK && (json.Unmarshal(answer.Body.Bytes(), &paths) != nil || paths["/status"] == "") {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
}

// TestOthersSeeNoMoreThanHealth: /status and /metrics told everybody who reached the address.
func TestOthersSeeNoMoreThanHealth(t *testing.T) {
	const token = "sixteen-letters!"
	guard := httpserver.NewGuard(&net.TCPAddr{IP: net.IPv4zero}, token)
	handler := Handler(Config{
		Metrics: prometheus.NewRegistry(), Alive: func(context.Context) bool { return true }, Booted: func() bool { return false },
		NotReady: func(context.Context) string { return "" }, Status: func(context.Context) any { return "all" },
	}, guard)
	for path, want := range map[string][2]int{
		"/healthz": {200, 200}, "/readyz": {200, 200}, "/": {401, 200}, "/status": {401, 200}, "/metrics": {401, 200},
		"/runs": {401, 503}, "/runs/r": {401, 503}, "/kernels/x": {401, 503}, "/nothing": {401, 404},
	} {
		for i, header := range []string{"", "Bearer " + token} {
			request, answer := httptest.NewRequest(http.MethodGet, path, http.NoBody), httptest.NewRecorder()
			request.Header.Set("Authorization", header)
			if handler.ServeHTTP(answer, request); answer.Code != want[i] {
				t.Errorf("%s with %q: %d, want %d", path, header, answer.Code, want[i])
			}
		}
	}
}
