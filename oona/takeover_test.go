package oona_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	neturl "net/url"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
)

// leaveInHand publishes a state and has a consumer die with it: its handler never
// returns, and its work is given up.
func leaveInHand(t *testing.T, url, consumer, state string) {
	t.Helper()
	clients := countClients(t, url)
	before := clients()
	dying := connect(t, url, func(cfg *oona.Config) { cfg.Consumer, cfg.ClaimIdle = consumer, time.Hour })
	if err := publishState(dying, state); err != nil {
		t.Fatal(err)
	}
	taken, end := make(chan struct{}), make(chan struct{})
	ctx, die := context.WithCancel(context.Background())
	go func() {
		defer close(end)
		_ = dying.Consume(ctx, ctx, oona.Subscription{Stream: "oona.normal", Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE: func(work context.Context, _ *oona.Delivery) ([]oona.Message, error) {
				close(taken)
				<-work.Done()
				return nil, work.Err()
			}}})
	}()
	<-taken
	die()
	<-end
	if err := dying.Close(); err != nil {
		t.Error(err)
	}
	// Until the server notices, a read that waits there takes what is published next.
	waitFor(t, "the server has noticed that a client is gone", func() bool { return clients() <= before })
}

// countClients connects to a server once, and returns how to ask it for the number
// of its clients.
func countClients(t *testing.T, url string) func() int {
	t.Helper()
	address, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	answer := bufio.NewScanner(conn)
	return func() (clients int) {
		if _, err := io.WriteString(conn, "*2\r\n$4\r\nINFO\r\n$7\r\nclients\r\n"); err != nil {
			t.Fatal(err)
		}
		for answer.Scan() {
			if n, _ := fmt.Sscanf(answer.Text(), "connected_clients:%d", &clients); n == 1 {
				return clients
			}
		}
		t.Fatalf("no number of clients: %v", answer.Err())
		return 0
	}
}

func awaitState(t *testing.T, got *received, state string) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(10 * time.Second); got.count(state) == 0; <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s was not taken over", state)
		}
	}
}

func TestWorkOfAConsumerKnownToBeDeadIsTakenOverAtOnce(t *testing.T) {
	t.Parallel()
	embedded, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(embedded.Close)
	for name, url := range map[string]string{"redis": redistest.Start(t).URL, "embedded": embedded.URL()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leaveInHand(t, url, "dead-1", "first")
			leaveInHand(t, url, "alive", "second")
			leaveInHand(t, url, "dead-2", "third")
			heir := connect(t, url, func(cfg *oona.Config) { cfg.Consumer, cfg.ClaimIdle = "heir", time.Hour })
			heir.TakeOver("dead-1", 0)
			got := receive(t, heir) // begins after the news
			awaitState(t, got, "first")
			heir.TakeOver("heir", 0)
			heir.TakeOver("alive", time.Hour)
			heir.TakeOver("dead-2", 0)
			awaitState(t, got, "third")
			if got.count("second") != 0 {
				t.Error("what was touched a moment ago was taken over")
			}
		})
	}
}
