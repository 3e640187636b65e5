package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// TestNissaShowsWhatWeatherlightMeasures compares Nissa's /metrics with a
// summary packet read from the bus by hand. The service shows nothing itself.
func TestNissaShowsWhatWeatherlightMeasures(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "WEATHERLIGHT_HTTP_ADDR=")
	w.process = launch(t, w.folder, w.environ, service)
	eventually(t, "the service is ready", patience, func() bool { return w.logged("ready") != nil })
	addr := freeport.Must(t)
	p := launch(t, t.TempDir(), append(w.environ, "NISSA_HTTP_ADDR="+addr), nissaService)
	eventually(t, "Nissa is ready", patience, func() bool {
		code, _, err := get(addr, "/readyz")
		return err == nil && code == http.StatusOK
	})
	var summary packet
	eventually(t, "a summary packet is on the bus", patience, func() bool {
		summary = w.lastSummary()
		return len(summary.points) > 0
	})
	eventually(t, "Nissa shows the points of the packet", patience, func() bool {
		_, body, err := get(addr, "/metrics")
		for _, point := range summary.points {
			if !showsSeries(body, strings.NewReplacer(".", "_", "-", "_").Replace(point.name)) {
				return false
			}
		}
		return err == nil
	})
	if code, _, err := get(addr, "/healthz"); err != nil || code != http.StatusOK {
		t.Errorf("/healthz is %d (%v)", code, err)
	}
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(stopBound); code != 0 {
		t.Errorf("Nissa stopped with exit code %d after %s", code, took)
	}
	mustNotSay(t, "Nissa", p.stderr.String(), secret)
}

// showsSeries looks for a series of that name from the service.
func showsSeries(body, name string) bool {
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, `source="weatherlight"`) {
			return true
		}
	}
	return false
}
