package redis

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unread reports whether something has come in on a connection that nobody has
// read yet. It does not wait for whoever reads there.
func unread(conn net.Conn) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	waiting := 0
	err = raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err == nil && waiting > 0
}
