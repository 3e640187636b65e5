package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// TestStartIsReadyWhenTheBootIsOverAndNotBefore holds the boot up by a Redis
// that does not answer.
func TestStartIsReadyWhenTheBootIsOverAndNotBefore(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.http = freeport.Must(t)
	w.environ = append(w.environ, "WEATHERLIGHT_HTTP_ADDR="+w.http)
	t.Cleanup(w.redis.Thaw)
	w.redis.Freeze()
	launched := time.Now()
	w.process = launch(t, w.folder, w.environ, service)
	eventually(t, "/healthz answers during the boot", patience, func() bool {
		code, _, err := get(w.http, "/healthz")
		return err == nil && code == http.StatusOK
	})
	took(t, "start", "launch to /healthz 200", time.Since(launched), 0)
	const inHand = "booting: step 2 of 10, oona connection"
	eventually(t, "/readyz has the step in hand", patience, func() bool {
		code, body := w.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, inHand)
	})
	var status struct {
		State, Reason string
		SystemMode    string `json:"system_mode"`
		Boot          []struct{ Step string }
	}
	code, body := w.get("/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil || code != http.StatusOK || status.State != "booting" ||
		status.Reason != inHand || status.SystemMode != "degraded" || len(status.Boot) != 1 {
		t.Errorf("/status during the boot is %d %s (%v)", code, body, err)
	}
	w.redis.Thaw()
	thawed := time.Now()
	eventually(t, "/readyz is 200", patience, func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusOK
	})
	took(t, "start", "Redis answers to /readyz 200", time.Since(thawed), 0)
	for _, stream := range []string{streamNormal, "oona.emergency", "oona.policy", streamRequests} {
		if w.bus.do("EXISTS", stream) != int64(1) {
			t.Errorf("there is no stream %s after the boot", stream)
		}
	}
	if got := w.ask("first", missing, patience); got.kind != typeError {
		t.Errorf("the first answer is %+v", got)
	}
	w.stop()
}

func TestStartIsQuickWithARedisThatAnswers(t *testing.T) {
	begin(t)
	w := newWorld(t)
	launched := time.Now()
	w.boot()
	took(t, "start", "launch to ready", time.Since(launched), 0)
	t.Logf("the service itself says %v", w.logged("ready")["took"])
	w.stop()
}

// TestServiceManagerHearsReadyWatchdogAndStopping plays systemd.
func TestServiceManagerHearsReadyWatchdogAndStopping(t *testing.T) {
	begin(t)
	w := newWorld(t)
	socket := filepath.Join(w.folder, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	const watchdog = 400 * time.Millisecond
	w.environ = append(w.environ, "NOTIFY_SOCKET="+socket, fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()))
	w.boot()
	mustHear(t, manager, "READY=1")
	for range 5 {
		mustHear(t, manager, "WATCHDOG=1")
	}
	w.process.signal(syscall.SIGTERM)
	mustHear(t, manager, "STOPPING=1")
	if code, _ := w.process.exit(stopBound); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// mustHear reads notifications until one says the word.
func mustHear(t testing.TB, manager *net.UnixConn, word string) {
	t.Helper()
	if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	notification := make([]byte, 4096)
	for {
		n, err := manager.Read(notification)
		if err != nil {
			t.Fatalf("the service never said %s: %v", word, err)
		}
		if slices.Contains(strings.Split(string(notification[:n]), "\n"), word) {
			return
		}
	}
}
