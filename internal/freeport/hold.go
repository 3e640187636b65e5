package freeport

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
)

// Hold returns a loopback address, "127.0.0.1:port", that is the test's until it
// ends: bound, and nobody listens. Connections are refused, and whoever asks for any
// free port is given another, but who reuses addresses, as redis-server and every
// listener of Go do, can listen there, and again after a restart.
func Hold(t testing.TB) string {
	t.Helper()
	socket, err := bind()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatalf("hold a port: %v", err)
	}
	at, ok := bound.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("hold a port: bound to %T", bound)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)).String() //nolint:gosec // a port
}

func bind() (socket int, err error) {
	syscall.ForkLock.RLock() // no process that is started meanwhile may inherit it
	socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, fmt.Errorf("hold a port: %w", err)
	}
	err = errors.Join(
		syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("hold a port: %w", err), syscall.Close(socket))
	}
	return socket, nil
}
