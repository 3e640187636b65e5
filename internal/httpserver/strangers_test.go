package httpserver

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// exposed is what a service serves where others reach it: two paths are open to everybody, and the answers of
// two are not done before an end.
func exposed(begun chan<- string, end <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/page.js", func(w http.ResponseWriter, r *http.Request) {
		begun <- r.URL.Path
		_, _ = w.Write(make([]byte, 16<<10))
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/follow", func(_ http.ResponseWriter, r *http.Request) {
		begun <- r.URL.Path
		<-end
	})
	mux.HandleFunc("/take", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	return NewGuard(address("0.0.0.0"), token).Beyond(mux, "/healthz", "/page.js")
}

// TestStrangersKeepNobodyOut: with answers that are not done, as those that they do not read, they held every place for half a minute,
// and probes of health were turned away.
func TestStrangersKeepNobodyOut(t *testing.T) {
	begun, end := make(chan string), make(chan struct{})
	worker, err := Listen(t.Context(), Config{Addr: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	worker.Serve(exposed(begun, end))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	say := func(request string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", worker.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	follower := say("GET /follow HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	<-begun
	for range connections() - 1 {
		conn := say("GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
		defer conn.Close()
		<-begun
	}
	for range 5 {
		probe := say("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if answer, err := io.ReadAll(probe); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 204") {
			t.Errorf("health is answered with %q, %v", answer, err)
		}
		_ = probe.Close()
	}
	close(end)
	answer, err := http.ReadResponse(bufio.NewReader(follower), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("who has the token was not answered to the end: %+v, %v", answer, err)
	}
	_ = follower.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestStrangersAreNotWaitedFor: not for what they do not send, nor for long for what they do not read.
func TestStrangersAreNotWaitedFor(t *testing.T) {
	const bearer = "Authorization: Bearer " + token + "\r\n"
	for _, c := range []struct {
		name, request, then string
		unread              bool
		within              time.Duration
		answer              string
	}{
		{"a body that never comes, without the token", "POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", "",
			false, strangerBody, "HTTP/1.1 401"},
		{"one that has come", "POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nwhole\nyes", "",
			false, 0, "HTTP/1.1 401"},
		{"one without an end", "POST /take HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", "",
			false, strangerBody, "HTTP/1.1 401"},
		{"one of a probe", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", "", false, strangerBody, "HTTP/1.1 204"},
		{"one for another name", "GET / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 9\r\n\r\n", "", false, strangerBody, "HTTP/1.1 421"},
		{"an answer that is not read", "GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n", "", true, strangerAnswer, ""},
		{"a slow body with the token",
			"POST /take HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + bearer + "Content-Length: 9\r\n\r\n", "late body",
			false, 4 * time.Second, "HTTP/1.1 200"},
	} {
		worker, err := Listen(t.Context(), Config{Addr: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer worker.Close()
		worker.Serve(exposed(make(chan string, 1), nil))
		synctest.Test(t, func(t *testing.T) {
			client, served := net.Pipe()
			listener := &oneConn{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
			listener.conns <- served
			server, done := worker.newServer(), make(chan error, 1)
			ended := make(chan struct{})
			places := server.ConnState
			server.ConnState = func(conn net.Conn, state http.ConnState) {
				places(conn, state)
				if state == http.StateClosed {
					close(ended)
				}
			}
			go func() { done <- server.Serve(listener) }()
			begun := time.Now()
			go func() {
				_, _ = io.WriteString(client, c.request)
				if c.then != "" {
					time.Sleep(4 * time.Second)
					_, _ = io.WriteString(client, c.then)
				}
			}()
			var answer []byte
			if !c.unread {
				answer, _ = io.ReadAll(client)
			}
			<-ended
			if took := time.Since(begun); took > c.within || !strings.HasPrefix(string(answer), c.answer) {
				t.Errorf("%s: ended after %s with %q", c.name, took, answer)
			}
			_ = client.Close()
			_ = server.Close()
			<-done
		})
	}
}
