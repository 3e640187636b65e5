package redistest

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
