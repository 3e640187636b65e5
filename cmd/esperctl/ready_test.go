package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

func TestReadyAsksWhereTheSettingsOrTheArgumentsSay(t *testing.T) {
	asked := ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.Method + " " + r.URL.Path }))
	defer server.Close()
	alone(t)
	addr := strings.TrimPrefix(server.URL, "http://")
	ask := func(line ...string) {
		t.Helper()
		asked = ""
		if _, err := run(t, line...); err != nil || asked != "GET /readyz" {
			t.Errorf("asked %q: %v", asked, err)
		}
	}
	ask("ready", addr)
	ask("ready", server.URL+"/")
	t.Setenv("WEATHERLIGHT_HTTP_ADDR", addr)
	ask("ready")
}

// A service whose file of tokens is halfway through a change goes on, with those from before: its
// health check must not have it started anew.
func TestReadyNeedsNoFileOfTokens(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if header := r.Header.Get("Authorization"); header != "" {
			t.Errorf("sent %q", header)
		}
	}))
	defer server.Close()
	alone(t)
	t.Setenv("WEATHERLIGHT_HTTP_ADDR", strings.TrimPrefix(server.URL, "http://"))
	t.Setenv("WEATHERLIGHT_HTTP_TOKEN_FILE", "/not/there")
	if _, err := run(t, "ready"); err != nil {
		t.Error(err)
	}
}

func TestReadyWithoutAnAnswerSaysWhatToSet(t *testing.T) {
	alone(t)
	if _, err := run(t, "ready"); process.ExitCode(err) != process.ExitFailed || !strings.Contains(err.Error(), "WEATHERLIGHT_URL") {
		t.Error(err)
	}
	t.Setenv("WEATHERLIGHT_HTTP_ADDR", "off")
	if _, err := run(t, "ready"); process.ExitCode(err) != process.ExitConfiguration {
		t.Error(err)
	}
}
