package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

const (
	// idleClients ask once and stay, slowClients ask often and take nothing.
	idleClients = 1000
	slowClients = 200
	// openAtMost is how many connections a listener keeps.
	openAtMost = 256
	// cutOff is how long a client may take for an answer, and some time for the machine.
	cutOff = 30*time.Second + patience
)

// clients are connections to one address.
type clients []net.Conn

// connect opens connections with small buffers and sends the same on each. What the
// server ends meanwhile counts like any other.
func connect(t testing.TB, addr string, n int, text string) clients {
	t.Helper()
	small := &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	var all clients
	t.Cleanup(func() { all.close() })
	for range n {
		conn, err := small.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
		_, _ = io.WriteString(conn, text)
	}
	return all
}

func (c clients) close() {
	for _, conn := range c {
		_ = conn.Close()
	}
}

// established counts the server's side of connections to an address, by the kernel.
func established(t testing.TB, addr string) (n int) {
	t.Helper()
	port := netip.MustParseAddrPort(addr).Port()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	local := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 3 && strings.HasSuffix(fields[1], local) && fields[3] == "01" {
			n++
		}
	}
	return n
}

// TestR39ClientsThatWaitOrDoNotReadAreCutOff: connections were never ended, and each
// reader that took nothing kept its answers and its goroutines.
func TestR39ClientsThatWaitOrDoNotReadAreCutOff(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	shown := freeport.Must(t)
	launch(t, t.TempDir(), append(w.environ, "NISSA_HTTP_ADDR="+shown), nissaService)
	eventually(t, "Nissa is ready", patience, func() bool { code, _, err := get(shown, "/readyz"); return err == nil && code == http.StatusOK })
	listeners := map[string]string{"the service": w.http, "Nissa": shown}
	answers := func(beside string) {
		for name, addr := range listeners {
			if code, _, err := get(addr, "/readyz"); err != nil || code != http.StatusOK {
				t.Errorf("%s beside those that %s: %d, %v", name, beside, code, err)
			}
		}
	}
	var idle clients
	for _, addr := range listeners {
		idle = append(idle, connect(t, addr, idleClients, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")...)
	}
	for name, addr := range listeners {
		eventually(t, name+" keeps few of those that wait", patience, func() bool { return established(t, addr) <= openAtMost })
	}
	answers("wait")
	idle.close()
	for _, addr := range listeners {
		connect(t, addr, slowClients, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200))
	}
	answers("do not read")
	for name, addr := range listeners {
		eventually(t, name+" leaves those that do not read", cutOff, func() bool { return established(t, addr) < slowClients/10 })
	}
	w.stop()
}
