package nissawatch

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
	watch := New(server.URL+"/", nil, cadence.Phase{})
	defer watch.client.CloseIdleConnections()
	for _, step := range []struct {
		code  int
		state string
		well  bool
	}{{200, ready, true}, {503, unready, false}, {200, ready, true}} {
		code = step.code
		state, detail := watch.ask(t.Context())
		watch.record(state, detail, time.Now())
		if got := watch.Status(); got.State != step.state || (watch.Trouble() == nil) != step.well {
			t.Errorf("answer %d: %+v", step.code, got)
		}
	}
	server.Close()
	if state, detail := watch.ask(t.Context()); state != unreachable || detail == "" {
		t.Errorf("without a server: %s %q", state, detail)
	}
}
