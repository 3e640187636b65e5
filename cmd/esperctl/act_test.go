package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Without a run nobody answers: the command is sent, and not waited for. Whether there is one
// Weatherlight knows best: Nissa remembers runs that are long over.
func TestModeWithoutARunDoesNotWait(t *testing.T) {
	for name, row := range map[string]struct{ nissa, weatherlight string }{
		"neither knows of one":              {`[]`, `{"runs":[]}`},
		"Nissa alone remembers one":         {`[{"run":"forgotten"}]`, `{"runs":[]}`},
		"Nissa has none, and is all we ask": {`[]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			onBus(t)
			serve(t, row.nissa, row.weatherlight)
			for _, mode := range []string{"conservative", "normal"} {
				if said := mustRun(t, "mode", mode, "--reason", "drill", "--wait", "1m"); !strings.Contains(said, "sent as") || !strings.Contains(said, "no run") {
					t.Error(said)
				}
			}
		})
	}
}

func TestModeWaitsForARunThatNissaHasNotHeardOfYet(t *testing.T) {
	onBus(t)
	serve(t, `[]`, `{"runs":["young"]}`)
	if _, err := run(t, "mode", "normal", "--reason", "drill", "--wait", "50ms"); err == nil || !strings.Contains(err.Error(), "not answered") {
		t.Error(err)
	}
}

// serve has a Nissa and a Weatherlight answer with those runs; the latter is away without an answer.
func serve(t *testing.T, nissa, weatherlight string) {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/runs", "/api/events":
			_, _ = w.Write([]byte(`{"runs":` + nissa + `,"head":0,"events":[]}`))
		case "/runs":
			if weatherlight == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write([]byte(weatherlight))
		default:
			t.Errorf("asked for %s", r.URL)
		}
	}))
	t.Cleanup(service.Close)
	t.Setenv("NISSA_URL", service.URL)
	t.Setenv("WEATHERLIGHT_HTTP_ADDR", strings.TrimPrefix(service.URL, "http://"))
}
