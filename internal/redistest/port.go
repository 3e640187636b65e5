package redistest

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
)

// holdPort keeps the port of a dead server: bound, and nobody listens. Connections
// are refused as before, and whoever asks for any free port is given another, but
// who reuses addresses, as redis-server does, can listen there. Where somebody was
// quicker there is nothing to hold, and the restart waits for him.
func holdPort(addr string) (let func()) {
	socket, err := bind(addr)
	if err != nil {
		return func() {}
	}
	return sync.OnceFunc(func() { _ = syscall.Close(socket) })
}

func bind(addr string) (socket int, err error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	syscall.ForkLock.RLock() // no process that is started meanwhile may inherit it
	socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, fmt.Errorf("bind %s: %w", addr, err)
	}
	err = errors.Join(
		syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(socket, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("bind %s: %w", addr, err), syscall.Close(socket))
	}
	return socket, nil
}
