package redistest

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestClockOfAServerIsMovedWhileItRuns(t *testing.T) {
	clock := NewClock(t)
	server := StartWith(t, clock)
	for _, ahead := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
		clock.Set(ahead)
		if gap := time.Until(timeOf(t, server)) - ahead; gap.Abs() > time.Minute {
			t.Errorf("set %v ahead, and %v from that", ahead, gap)
		}
	}
}

// timeOf asks a server for its time.
func timeOf(t *testing.T, server *Server) time.Time {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("TIME\r\n")); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 100)
	n, err := conn.Read(reply)
	lines := strings.Split(string(reply[:n]), "\r\n")
	if err != nil || len(lines) < 3 {
		t.Fatalf("TIME: %q, %v", lines, err)
	}
	seconds, err := strconv.ParseInt(lines[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(seconds, 0)
}
