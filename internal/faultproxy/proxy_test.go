package faultproxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/freeport"
)

const (
	patient = 10 * time.Second       // longest wait for something that must happen
	brief   = 150 * time.Millisecond // long enough to believe that nothing comes
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startEcho returns a proxy before a server that sends back what it gets.
func startEcho(t *testing.T) *faultproxy.Proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // until either side ends
			})
		}
	})
	proxy, err := faultproxy.Start(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
		_ = listener.Close()
		serving.Wait()
	})
	return proxy
}

func dial(t *testing.T, p *faultproxy.Proxy) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.Addr(), patient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// receive reads n bytes within a time.
func receive(conn net.Conn, n int, within time.Duration) (string, error) {
	_ = conn.SetReadDeadline(time.Now().Add(within))
	buffer := make([]byte, n)
	read, err := io.ReadFull(conn, buffer)
	return string(buffer[:read]), err
}

func echoes(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	send(t, conn, text)
	if got, err := receive(conn, len(text), patient); got != text {
		t.Fatalf("echo = %q, %v; want %q", got, err, text)
	}
}

func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	if got, err := receive(conn, 1, brief); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v; want nothing and no end", got, err)
	}
}

func TestForwardsBothWays(t *testing.T) {
	t.Parallel()
	echoes(t, dial(t, startEcho(t)), strings.Repeat("x", 200_000))
}

func TestCutEndsOpenConnectionsAndNoNewOnes(t *testing.T) {
	t.Parallel()
	p := startEcho(t)
	conn := dial(t, p)
	echoes(t, conn, "a")
	if n := p.Cut(); n != 1 {
		t.Errorf("cut %d connections", n)
	}
	if _, err := receive(conn, 1, patient); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the cut: %v", err)
	}
	echoes(t, dial(t, p), "b")
}

func TestAnswersAreRewrittenAndQuestionsAreNot(t *testing.T) {
	t.Parallel()
	p := startEcho(t)
	conn := dial(t, p)
	// An echo that heard something else would answer with two of them.
	p.Rewrite(func(answer []byte) []byte { return append(answer, '!') })
	send(t, conn, "a")
	if got, err := receive(conn, 2, patient); got != "a!" {
		t.Errorf("answer %q, %v", got, err)
	}
	silent(t, conn)
	p.Rewrite(nil)
	echoes(t, conn, "b")
}

func TestHalfOpenConnectionStaysSilentForEver(t *testing.T) {
	t.Parallel()
	p := startEcho(t)
	doomed, idle := dial(t, p), dial(t, p)
	echoes(t, doomed, "a")
	echoes(t, idle, "a")
	p.Set(faultproxy.Fault{HalfOpen: true})
	send(t, doomed, "b")
	for deadline := time.Now().Add(patient); p.Silent() == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("what was sent is not swallowed")
		}
	}
	silent(t, doomed)
	p.Set(faultproxy.Fault{})
	send(t, doomed, "c")
	silent(t, doomed)
	echoes(t, idle, "d")
	echoes(t, dial(t, p), "e")
}

func TestFrozenBytesArriveLater(t *testing.T) {
	t.Parallel()
	p := startEcho(t)
	conn := dial(t, p)
	p.Set(faultproxy.Fault{Freeze: true})
	send(t, conn, "held")
	silent(t, conn)
	p.Set(faultproxy.Fault{})
	if got, err := receive(conn, 4, patient); got != "held" {
		t.Errorf("after the thaw: %q, %v", got, err)
	}
}

func TestRefusedConnectionsEndAtOnce(t *testing.T) {
	t.Parallel()
	p := startEcho(t)
	open := dial(t, p)
	echoes(t, open, "a")
	p.Set(faultproxy.Fault{Refuse: true})
	conn, err := net.DialTimeout("tcp", p.Addr(), patient)
	if err == nil {
		defer conn.Close()
		if _, err = receive(conn, 1, patient); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a refused connection stayed open")
		}
	}
	echoes(t, open, "b")
}

func TestDelayAndThrottleTakeTheirTime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault   faultproxy.Fault
		bytes   int
		atLeast time.Duration
	}{
		"delay":    {faultproxy.Fault{Delay: 50 * time.Millisecond}, 1, 100 * time.Millisecond},
		"throttle": {faultproxy.Fault{BytesPerSecond: 10_000}, 1000, 80 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startEcho(t)
			conn := dial(t, p)
			p.Set(test.fault)
			begun := time.Now()
			echoes(t, conn, strings.Repeat("x", test.bytes))
			if took := time.Since(begun); took < test.atLeast {
				t.Errorf("took %v, want at least %v", took, test.atLeast)
			}
		})
	}
}

func TestScriptEndsWithoutFault(t *testing.T) {
	t.Parallel()
	p := startEcho(t)
	conn := dial(t, p)
	echoes(t, conn, "a")
	err := p.Play(t.Context(), faultproxy.Step{Fault: faultproxy.Fault{Freeze: true}, For: time.Millisecond},
		faultproxy.Step{Cut: true, Fault: faultproxy.Fault{Refuse: true}, For: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receive(conn, 1, patient); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the script did not cut")
	}
	echoes(t, dial(t, p), "b")
}

func TestScriptEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := startEcho(t).Play(ctx, faultproxy.Step{For: time.Hour})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Play = %v", err)
	}
}

func TestServerThatIsGoneLooksLikeARefusal(t *testing.T) {
	t.Parallel()
	p, err := faultproxy.Start(freeport.Must(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	conn, err := net.DialTimeout("tcp", p.Addr(), patient)
	if err != nil {
		return // reset before the dial was through
	}
	defer conn.Close()
	if _, err := receive(conn, 1, patient); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read = %v", err)
	}
}

func TestCloseEndsEverythingTwice(t *testing.T) {
	t.Parallel()
	p := startEcho(t)
	conn := dial(t, p)
	p.Set(faultproxy.Fault{Freeze: true})
	send(t, conn, "x")
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := receive(conn, 1, patient); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after close = %v", err)
	}
}
