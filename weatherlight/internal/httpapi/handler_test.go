package httpapi

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

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
		Handler(Config{Alive: alive, Metrics: metrics}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz", nil))
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
	handler := Handler(Config{Metrics: prometheus.NewRegistry()}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	for path, code := range map[string]int{"/": http.StatusOK, "/nothing": http.StatusNotFound} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		var paths map[string]string
		if answer.Code != code || code == http.StatusOK && (json.Unmarshal(answer.Body.Bytes(), &paths) != nil || paths["/status"] == "") {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
}
