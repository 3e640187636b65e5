package oona_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
)

// behindProxy starts a Redis with a proxy before it, and returns the address of
// the bus behind the proxy.
func behindProxy(t *testing.T, args []string, address func(addr string) string) (string, *faultproxy.Proxy) {
	t.Helper()
	target := redistest.Start(t, args...).Addr
	if i := len(args) - 1; i > 0 && args[i-1] == "--tls-port" {
		target = "127.0.0.1:" + args[i]
	}
	proxy, err := faultproxy.Start(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	return address(proxy.Addr()), proxy
}

// publishing publishes from several goroutines, which share one connection,
// until the test ends. It counts what was acknowledged.
func publishing(t *testing.T, c *oona.Client) *atomic.Int64 {
	t.Helper()
	var running sync.WaitGroup
	var stopped atomic.Bool
	acknowledged := new(atomic.Int64)
	for i := range 3 {
		running.Go(func() {
			poll := time.NewTicker(5 * time.Millisecond)
			defer poll.Stop()
			for n := 0; !stopped.Load(); n++ {
				if publishState(c, strconv.Itoa(i)+"/"+strconv.Itoa(n)) == nil {
					acknowledged.Add(1)
				}
				<-poll.C
			}
		})
	}
	t.Cleanup(func() {
		stopped.Store(true)
		running.Wait()
	})
	return acknowledged
}

func TestPeerThatVanishedWithoutAWordIsNoticed(t *testing.T) {
	t.Parallel()
	ca, cert, key := certificate(t)
	for _, test := range []struct {
		name    string
		args    []string
		address func(addr string) string
	}{
		{"plain", nil, func(addr string) string { return "redis://" + addr }},
		{"password", []string{"--requirepass", "hunter2"}, func(addr string) string { return "redis://:hunter2@" + addr }},
		{"tls", []string{"--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no",
			"--tls-ca-cert-file", ca, "--tls-port", freePort(t)},
			func(addr string) string { return "rediss://" + addr + "/0?ca=" + ca }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, proxy := behindProxy(t, test.args, test.address)
			// Far more patience with a slow server than with a dead connection.
			c := connect(t, address, func(cfg *oona.Config) { cfg.DialTimeout = time.Minute })
			got := receive(t, c)
			acknowledged := publishing(t, c)
			waitFor(t, "the bus works", func() bool { return acknowledged.Load() > 10 && got.total() > 10 })
			err := proxy.Play(context.Background(), faultproxy.Step{Fault: faultproxy.Fault{HalfOpen: true}, For: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			sent, seen := acknowledged.Load(), got.total()
			waitFor(t, "traffic flows again", func() bool { return acknowledged.Load() > sent+10 && got.total() > seen+10 })
		})
	}
}

func TestSlowServerIsNotTakenForADeadConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--enable-debug-command", "yes")
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.DialTimeout = 30 * time.Second })
	got := receive(t, c)
	raw := rawClient(t, server.URL)
	var sleeping sync.WaitGroup
	sleeping.Go(func() {
		if err := raw.Do(context.Background(), raw.B().Arbitrary("DEBUG", "SLEEP", "1.5").Build()).Error(); err != nil {
			t.Error(err)
		}
	})
	for n := range 20 {
		if err := publishState(c, strconv.Itoa(n)); err != nil {
			t.Errorf("a server that took its time was given up: %v", err)
		}
	}
	sleeping.Wait()
	waitFor(t, "everything arrives", func() bool { return got.total() == 20 })
	if state := c.Health(); state.PublishFailures != 0 || state.ConsumeFailures != 0 {
		t.Errorf("health = %+v", state)
	}
}

// fullListener listens and never accepts: beyond what fits into its queue,
// nobody gets an answer to the wish to connect.
func fullListener(t *testing.T) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	if err := errors.Join(syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(socket, 0)); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*syscall.SockaddrInet4).Port))
	for {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}

func TestConnectEndsAtOnceWhenItsCallerLeaves(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]string{"nobody answers": silentListener(t), "nobody accepts": fullListener(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(context.Background())
			time.AfterFunc(50*time.Millisecond, leave)
			begun := time.Now()
			_, err := oona.Connect(ctx, oona.Config{URL: "redis://" + addr, Keyring: keyring(t), DialTimeout: time.Minute})
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), addr) {
				t.Errorf("error = %v", err)
			}
			if took := time.Since(begun); took > soon {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestConnectionsOutliveTheContextOfConnect(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ctx, leave := context.WithTimeout(context.Background(), time.Minute)
	c, err := oona.Connect(ctx, oona.Config{URL: server.URL, Group: "g", Keyring: keyring(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	leave()
	works(t, c)
}
