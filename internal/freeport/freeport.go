// Package freeport keeps ports for the servers that tests and benchmarks start.
package freeport

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"testing"
)

// Hold returns a loopback address, "127.0.0.1:port", that is the caller's until he
// lets go: bound, and nobody listens. Connections are refused, and whoever asks for
// any free port is given another, but who reuses addresses, as redis-server, postgres
// and every listener of Go do, can listen there, and again after a restart.
func Hold() (addr string, let func(), err error) {
	socket, err := bind()
	if err != nil {
		return "", nil, fmt.Errorf("hold a port: %w", err)
	}
	let = sync.OnceFunc(func() { _ = syscall.Close(socket) })
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		let()
		return "", nil, fmt.Errorf("hold a port: %w", err)
	}
	at, ok := bound.(*syscall.SockaddrInet4)
	if !ok {
		let()
		return "", nil, fmt.Errorf("hold a port: bound to %T", bound)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)).String(), let, nil
}

// Must is Hold for a test, which ends when there is none, and keeps it to its end.
func Must(t testing.TB) string {
	t.Helper()
	addr, let, err := Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(let)
	return addr
}

func bind() (socket int, err error) {
	syscall.ForkLock.RLock() // no process that is started meanwhile may inherit it
	socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, err
	}
	err = errors.Join(
		syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		return 0, errors.Join(err, syscall.Close(socket))
	}
	return socket, nil
}
