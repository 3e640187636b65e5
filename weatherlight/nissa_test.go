package weatherlight

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
	heartbeat := newNissaHeartbeat(server.URL+"/", cadence.Phase{})
	defer heartbeat.client.CloseIdleConnections()
	for _, step := range []struct {
		code  int
		state string
		found int
	}{{200, nissaReady, 0}, {503, nissaUnready, 1}, {200, nissaReady, 0}} {
		code = step.code
		state, detail := heartbeat.ask(t.Context())
		heartbeat.note(state, detail, time.Now())
		if got := heartbeat.status(); got.State != step.state || len(heartbeat.look(t.Context())) != step.found {
			t.Errorf("answer %d: %+v", step.code, got)
		}
	}
	server.Close()
	if state, detail := heartbeat.ask(t.Context()); state != nissaUnreachable || detail == "" {
		t.Errorf("without a server: %s %q", state, detail)
	}
}

func TestServiceDoesNotNeedNissa(t *testing.T) {
	r := start(t, newService(t, map[string]string{"NISSA_URL": "http://127.0.0.1:1"}))
	eventually(t, "nissa was asked", func() bool { return r.nissa.status().State == nissaUnreachable })
	packet := r.summaryPacket(t.Context())
	if got := packet.GetSystemHealth().GetIndicators()["nissa"]; got != nissaUnreachable {
		t.Errorf("indicator nissa is %q", got)
	}
	if status := r.status(t.Context()); status.Nissa == nil || status.Nissa.State != nissaUnreachable || status.State != "ready" {
		t.Errorf("status %+v", status)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestServiceWithoutNissaSaysNothingOfIt(t *testing.T) {
	r := start(t, newService(t, nil))
	if _, said := r.summaryPacket(t.Context()).GetSystemHealth().GetIndicators()["nissa"]; said || r.status(t.Context()).Nissa != nil {
		t.Error("nissa is reported")
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
