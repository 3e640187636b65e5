// Package freeport finds ports for the servers that tests and benchmarks start.
package freeport

import (
	"context"
	"fmt"
	"net"
	"testing"
)

// Find returns a loopback address, "127.0.0.1:port", that nobody listened on a
// moment ago. Somebody else may take it before it is used: whoever starts a
// server there tries again with another one.
func Find() (string, error) {
	// Background: listening takes no time that a context could bound.
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// Must is Find for a test, which ends when there is none.
func Must(t testing.TB) string {
	t.Helper()
	addr, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
