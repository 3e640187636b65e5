package oona_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/lease"
)

// mute takes the place of a server: it accepts connections and never says a word,
// as a process that was stopped does. It tells of each connection.
func mute(t *testing.T, addr string) <-chan struct{} {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{}, 100)
	var conns []net.Conn
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
			accepted <- struct{}{}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	return accepted
}

func TestFrozenBusHoldsUpNobodyLongerThanHeAskedFor(t *testing.T) {
	server := redistest.Start(t)
	client := connect(t, server.URL, func(c *oona.Config) { c.DialTimeout = time.Minute })
	held := client.NewLease(lease.Config{Name: "one", Group: "bounded"})
	server.Kill()
	accepted := mute(t, server.Addr)
	patient, giveUp := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() { // It makes the connection that the others wait for.
		for patient.Err() == nil {
			_ = client.Ping(patient)
		}
	})
	defer first.Wait()
	defer giveUp()
	select {
	case <-accepted:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody connects again")
	}

	for name, question := range map[string]func(context.Context) error{
		"Ping":    client.Ping,
		"Stats":   func(ctx context.Context) error { _, err := client.Stats(ctx); return err },
		"Renew":   func(ctx context.Context) error { _, err := held.Renew(ctx, nil); return err },
		"Confirm": func(ctx context.Context) error { _, err := held.Confirm(ctx, 1); return err },
		"Release": held.Release,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begun := time.Now()
		err := question(ctx)
		cancel()
		if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > soon {
			t.Errorf("%s took %v: %v", name, took, err)
		}
	}
	begun := time.Now()
	if err := client.Close(); err != nil || time.Since(begun) > soon {
		t.Errorf("close took %v: %v", time.Since(begun), err)
	}
	if err := client.Ping(t.Context()); !errors.Is(err, oona.ErrClosed) {
		t.Errorf("ping of a closed client: %v", err)
	}
}
