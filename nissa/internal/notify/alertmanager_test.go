package notify_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/proctest"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
)

// startAlertmanager runs Debian's, which tells a webhook at once, and returns its address.
func startAlertmanager(t *testing.T, hook string) string {
	t.Helper()
	binary, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Fatal("prometheus-alertmanager not found: apt-get install prometheus-alertmanager")
	}
	folder, addr := t.TempDir(), freeport.Must(t)
	config := fmt.Sprintf(`route: {receiver: double, group_wait: 0s, group_interval: 1s, group_by: [alertname]}
receivers: [{name: double, webhook_configs: [{url: %q, send_resolved: true}]}]
`, hook)
	if err := os.WriteFile(filepath.Join(folder, "config.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	proctest.Launch(t, folder, nil, binary, "--config.file=config.yml", "--storage.path=data",
		"--web.listen-address="+addr, "--cluster.listen-address=")
	eventually(t, "Alertmanager is ready", func() bool {
		response, err := http.Get("http://" + addr + "/-/ready")
		if err == nil {
			response.Body.Close()
		}
		return err == nil && response.StatusCode == http.StatusOK
	})
	return addr
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

func TestAlertmanagerTakesAlertsAndTheirEnd(t *testing.T) {
	told := new(heard)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Alerts []struct {
				Status              string
				Labels, Annotations map[string]string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		for _, a := range body.Alerts {
			told.add(fmt.Sprintf("%s %s %s %s %s", a.Status, a.Labels["alertname"], a.Labels["odd_name"], a.Annotations["reason"], a.Annotations["detail"]))
		}
	}))
	t.Cleanup(hook.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	addr := startAlertmanager(t, hook.URL)
	s := sender(t, "alertmanager+http://"+addr)
	if !s.Program() {
		t.Error("Alertmanager is no program")
	}
	first, last := started(), ended()
	for _, alerts := range [][]alert.Alert{first.Firing, last.Resolved} {
		alerts[0].Labels = map[string]string{"odd name": "x", "empty": ""}
		alerts[0].Fired = time.Now().Add(-time.Minute)
		alerts[0].Detail = "\U0001F4A5 backlog"
	}
	if err := s.Send(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the webhook hears that it fires", func() bool { return strings.Contains(told.all(), "firing bus_lag x  \U0001F4A5 backlog") })
	last.Resolved[0].Ended = time.Now()
	if err := s.Send(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the webhook hears that it has ended", func() bool { return strings.Contains(told.all(), "resolved bus_lag x recovered") })
}
