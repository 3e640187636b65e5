package health

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

func TestNissaIsReportedAndNothingMore(t *testing.T) {
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(code)
	}))
	heartbeat := NewNissa(server.URL+"/", cadence.Phase{})
	defer heartbeat.client.CloseIdleConnections()
	for _, step := range []struct {
		code  int
		state string
		found int
	}{{200, nissaReady, 0}, {503, nissaUnready, 1}, {200, nissaReady, 0}} {
		code = step.code
		state, detail := heartbeat.ask(t.Context())
		heartbeat.record(state, detail, time.Now())
		if got := heartbeat.Status(); got.State != step.state || len(heartbeat.sample(t.Context())) != step.found {
			t.Errorf("answer %d: %+v", step.code, got)
		}
	}
	server.Close()
	if state, detail := heartbeat.ask(t.Context()); state != nissaUnreachable || detail == "" {
		t.Errorf("without a server: %s %q", state, detail)
	}
}
