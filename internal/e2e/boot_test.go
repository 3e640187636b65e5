package e2e

import (
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// TestEmbeddedBrokerIsJoinedByOthers: its address is printed so that other
// processes can use it.
func TestEmbeddedBrokerIsJoinedByOthers(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "REDIS_URL=embedded:")
	w.bootForged()
	address, _ := w.logged("ready")["bus"].(string)
	host, found := strings.CutPrefix(address, "redis://")
	host, _, _ = strings.Cut(host, "/")
	if !found {
		t.Fatalf("the service says its bus is %q", address)
	}
	w.bus = newRedisClient(t, host)
	if got := w.ask("embedded", compiled, patience); got.kind != typeReady {
		t.Errorf("answer is %+v", got)
	}
	id := w.request("embedded", compiled)
	w.refused(streamRequests, id, "replay")
	addr := freeport.Must(t)
	nissa := launch(t, t.TempDir(), append(w.environ, "REDIS_URL="+address, "NISSA_HTTP_ADDR="+addr), nissaService)
	eventually(t, "Nissa is ready on the embedded broker", patience, func() bool {
		code, _, err := get(addr, "/readyz")
		return err == nil && code == http.StatusOK
	})
	nissa.signal(syscall.SIGTERM)
	if code, _ := nissa.exit(stopBound); code != 0 {
		t.Errorf("Nissa stopped with exit code %d", code)
	}
	w.stop()
}

func TestServiceRunsWithoutHTTP(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "WEATHERLIGHT_HTTP_ADDR=")
	w.process = launch(t, w.folder, w.environ, service)
	eventually(t, "the service is ready", patience, func() bool { return w.logged("ready") != nil })
	if got := w.ask("no http", missing, patience); got.kind != typeError {
		t.Errorf("answer is %+v", got)
	}
	w.stop()
}

// TestStopDuringTheBootIsAStop: who asks for the end while the service still
// waits for its bus is not told that a dependency failed.
func TestStopDuringTheBootIsAStop(t *testing.T) {
	begin(t)
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	environ := []string{
		"ESPER_LEYLINE_SECRET=" + secret, "REDIS_URL=redis://" + deaf.Addr().String() + "/0", "WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0",
	}
	p := launch(t, t.TempDir(), environ, service)
	eventually(t, "the boot has begun", patience, func() bool { return strings.Contains(p.stderr.String(), `"settings"`) })
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(stopBound); code != 0 {
		t.Errorf("exit code %d after %s, want 0", code, took)
	}
}
