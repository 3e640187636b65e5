//go:build !linux

package redis

import (
	"net"
)

// unread is known on Linux only.
func unread(net.Conn) bool { return false }
