package freeport_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

func TestHeldPortIsRefusedGivenToNobodyElseAndListenedOnAgainAndAgain(t *testing.T) {
	t.Parallel()
	held := make(map[string]bool)
	for range 100 {
		held[freeport.Must(t)] = true
	}
	for range 500 {
		other, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if held[other.Addr().String()] {
			t.Fatal("a held port was given to somebody else")
		}
	}
	for addr := range held {
		for range 2 {
			if conn, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("nobody listens on %s: %v, %v", addr, conn, err)
			}
			ours, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Close(), ours.Close()
		}
	}
	if len(held) != 100 {
		t.Errorf("%d ports are held", len(held))
	}
}
