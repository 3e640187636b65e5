package pgtest_test

import (
	"net"
	"testing"

	"github.com/esper-lite/weatherlight/internal/pgtest"
)

func TestServerComesBackOnItsPort(t *testing.T) {
	server := pgtest.Start(t)
	for range 2 {
		conn, err := net.Dial("tcp", server.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", server.Addr); err == nil {
		_ = conn.Close()
		t.Error("answers after Kill")
	}
}
