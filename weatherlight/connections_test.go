package weatherlight

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
)

// served asks a Redis for its own figures.
type served struct {
	t      *testing.T
	server net.Conn
	lines  *bufio.Reader
}

func askServed(t *testing.T, addr string) *served {
	t.Helper()
	server, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return &served{t, server, bufio.NewReader(server)}
}

// connections is how many it has ever taken.
func (s *served) connections() int { return s.figure("total_connections_received") }

// figure is -1 when Redis has none of that name.
func (s *served) figure(name string) int {
	s.t.Helper()
	if _, err := fmt.Fprint(s.server, "INFO\r\nPING\r\n"); err != nil {
		s.t.Fatal(err)
	}
	taken := -1
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.HasPrefix(line, "+PONG") {
			return taken
		}
		if text, found := strings.CutPrefix(strings.TrimSpace(line), name+":"); found {
			taken, _ = strconv.Atoi(text)
		}
	}
}

// A connection for each kernel request, and a place among the workers for each answer, would be too
// much for a burst of them.
func TestKernelRequestsOpenNoConnections(t *testing.T) {
	redis := redistest.Start(t)
	g := newGardenWith(t, "BP002", map[string]string{"REDIS_URL": redis.URL, "ASYNC_WORKER_MAX_CONCURRENCY": "1"})
	server := askServed(t, redis.Addr)
	grow := func(seed string) {
		g.command("germinate-"+seed, seed, leyline.SeedOperation_SEED_OP_GERMINATE)
		g.await(seed, leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)
	}
	grow("first")
	round := 0
	// A server that is slow to answer is asked on one more connection whether it lives.
	eventually(t, "12 requests that open no connection", func() bool {
		before := server.connections()
		for i := range 12 {
			grow(fmt.Sprintf("seed-%d-%d", round, i))
		}
		round++
		return before > 0 && server.connections() == before
	})
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}
