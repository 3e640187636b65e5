package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/urza"
)

// oneClient is a listener with a single connection, in memory, to come.
type oneClient struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *oneClient) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneClient) Close() error { close(l.closed); return nil }

func (l *oneClient) Addr() net.Addr { return address("127.0.0.1") }

// download has a client ask for a kernel of this size and take it as it likes. It returns
// how long the handler was at it and what it logged.
func download(size int, take func(client net.Conn)) (took time.Duration, log string) {
	var logged bytes.Buffer
	open := func(context.Context) (io.ReadCloser, int64, error) {
		return io.NopCloser(bytes.NewReader(make([]byte, size))), int64(size), nil
	}
	kernels := newKernels(doubles{open}, slog.New(slog.NewTextHandler(&logged, nil)))
	ended := make(chan time.Duration, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		kernels.ServeHTTP(w, r)
		ended <- time.Since(begun)
	})}
	client, served := net.Pipe()
	listener := &oneClient{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	listener.conns <- served
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	fmt.Fprintf(client, "GET /kernels/%064d HTTP/1.1\r\nHost: x\r\n\r\n", 0)
	take(client)
	took = <-ended
	_ = client.Close()
	_ = server.Close()
	<-done
	return took, logged.String()
}

// A client that stops reading would hold one of a few places for as long as it likes.
func TestClientThatTakesNothingMoreIsLeft(t *testing.T) {
	const kernel = 1 << 20
	for name, first := range map[string]int{"from the beginning": 0, "after the header": 512, "in the middle": kernel / 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, log := download(kernel, func(client net.Conn) {
					if _, err := io.CopyN(io.Discard, client, int64(first)); err != nil {
						t.Error(err)
					}
				})
				if took != 30*time.Second || log != "" { // it may be gone: that is nothing to log
					t.Errorf("left after %s: %s", took, log)
				}
			})
		})
	}
}

func TestClientThatIsSlowGetsItsKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const kernel = 1 << 20
		took, log := download(kernel, func(client net.Conn) {
			answer, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			var got int64
			for err == nil {
				time.Sleep(5 * time.Second)
				var n int64
				n, err = io.CopyN(io.Discard, answer.Body, 16<<10)
				got += n
			}
			if got != kernel || !errors.Is(err, io.EOF) {
				t.Errorf("%d bytes, %v", got, err)
			}
		})
		if took < 5*time.Minute || log != "" {
			t.Errorf("served in %s: %s", took, log)
		}
	})
}

// What is told of a kernel that turns out to be damaged before any of it was sent is a
// refusal, whole and of its own.
func TestKernelThatIsFoundDamagedInTimeIsRefused(t *testing.T) {
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 100 << 10, 128<<10 - 1} {
		open := func(context.Context) (io.ReadCloser, int64, error) {
			content := io.MultiReader(bytes.NewReader(make([]byte, size)), iotest.ErrReader(urza.ErrChecksumMismatch))
			return io.NopCloser(content), int64(size), nil
		}
		server := serve(t, newKernels(doubles{open}, slog.New(slog.DiscardHandler)))
		got := request(t, server, http.MethodGet, "/kernels/"+strings.Repeat("0", 64))
		if got.code != http.StatusNotFound || got.err != nil || got.header.Get("ETag") != "" {
			t.Errorf("%d bytes: %d %v %q, %v", size, got.code, got.header, got.body, got.err)
		}
	}
}
