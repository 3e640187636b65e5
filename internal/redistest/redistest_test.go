package redistest

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServerOfAnotherTestIsNotTakenForOurs: the port that was free a moment ago
// may be somebody else's by the time that the server wants it.
func TestServerOfAnotherTestIsNotTakenForOurs(t *testing.T) {
	another := Start(t)
	s := &Server{t: t, dir: t.TempDir()}
	t.Cleanup(s.Stop)
	tries := 0
	s.launch(func() {
		s.Addr = freeport.Hold(t)
		if tries++; tries == 1 {
			s.Addr = another.Addr
		}
	})
	if tries < 2 || s.Addr == another.Addr {
		t.Errorf("after %d tries the server is the other one, on %s", tries, s.Addr)
	}
	s.Restart()
	if !s.answers() {
		t.Error("the server does not answer after a restart")
	}
}

func TestPortOfADeadServerIsGivenToNobodyElse(t *testing.T) {
	server := Start(t)
	server.Kill()
	if _, err := net.Dial("tcp", server.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a dead server: %v", err)
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(socket) //nolint:errcheck // nothing depends on it
	at := netip.MustParseAddrPort(server.Addr)
	err = syscall.Bind(socket, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("somebody else takes the port: %v", err)
	}
	server.Restart()
	if !server.answers() {
		t.Error("the server does not answer after a restart")
	}
}
