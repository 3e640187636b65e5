package e2e

import (
	"net"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/internal/proctest"
)

// A service that may open few files says so, and clients that open connections and ask
// nothing do not take the last of them.
func TestIdleConnectionsLeaveAServiceOfFewFilesReady(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "TEZZERET_FORGE_ON_START=false")
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(suite.binaries, service)
	check := of(t, proctest.Launch(t, w.folder, w.environ, prlimit, "--nofile=64", binary, "--check"))
	if code, _ := check.exit(patience); code != 0 {
		t.Errorf("the check exits with %d: %s", code, check.stdout.String())
	}
	mustSay(t, "the check", check.stdout.String(), "open files", "64 files may be open")
	w.process = of(t, proctest.Launch(t, w.folder, w.environ, prlimit, "--nofile=64", binary))
	eventually(t, "the service is ready", patience, func() bool { return w.logged("ready") != nil })
	w.http, _ = w.logged("ready")["http"].(string)
	mustSay(t, "the boot", w.process.stderr.String(), "64 files may be open")
	for range 100 {
		conn, err := net.DialTimeout("tcp", w.http, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for range 3 {
		if code, body, err := get(w.http, "/readyz"); err != nil || code != 200 {
			t.Errorf("/readyz: %d %s %v", code, body, err)
		}
	}
	w.stop()
}
