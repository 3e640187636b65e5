package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Without a run nobody answers: the command is sent, and not waited for.
func TestModeWithoutARunDoesNotWait(t *testing.T) {
	onBus(t)
	nissa := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/runs" {
			t.Errorf("asked for %s", r.URL)
		}
		_, _ = w.Write([]byte(`{"runs":[],"head":0,"events":[]}`))
	}))
	defer nissa.Close()
	t.Setenv("NISSA_URL", nissa.URL)
	for _, mode := range []string{"conservative", "normal"} {
		if said := mustRun(t, "mode", mode, "--reason", "drill", "--wait", "1s"); !strings.Contains(said, "sent as") || !strings.Contains(said, "no run") {
			t.Error(said)
		}
	}
}
