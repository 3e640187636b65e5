package httpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/internal/certtest"
)

const token = "sixteen-letters!"

func one(tokens ...string) func() ([]string, error) {
	return func() ([]string, error) { return tokens, nil }
}

// TestListenerThatOthersReachNeedsAToken: without one, whoever reached the address saw everything.
func TestListenerThatOthersReachNeedsAToken(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, setting string
		config        Config
	}{
		{"loopback", "", Config{Addr: "127.0.0.1:0"}},
		{"loopback by name", "", Config{Addr: "localhost:0"}},
		{"everywhere", "X_TOKEN", Config{Addr: "0.0.0.0:0"}},
		{"everywhere without saying so", "X_TOKEN", Config{Addr: ":0"}},
		{"everywhere of IPv6", "X_TOKEN", Config{Addr: "[::]:0"}},
		{"an address", "X_TOKEN", Config{Addr: "192.0.2.7:0"}},
		{"everywhere, and a file without tokens", "X_TOKEN", Config{Addr: "0.0.0.0:0", Tokens: one()}},
		{"everywhere with a token", "", Config{Addr: "0.0.0.0:0", Tokens: one(token)}},
		{"file of tokens that is none", "X_TOKEN_FILE", Config{Addr: "127.0.0.1:0", Tokens: func() ([]string, error) { return nil, io.EOF }}},
		{"certificate that is not there", "X_TLS_CERT_FILE", Config{Addr: "127.0.0.1:0", CertFile: "/nowhere", KeyFile: broken}},
		{"key that is not there", "X_TLS_KEY_FILE", Config{Addr: "127.0.0.1:0", CertFile: broken, KeyFile: "/nowhere"}},
		{"no pair", "X_TLS_CERT_FILE", Config{Addr: "127.0.0.1:0", CertFile: broken, KeyFile: broken}},
	} {
		c.config.Env = "X"
		worker, err := Listen(t.Context(), c.config, slog.New(slog.DiscardHandler))
		for _, err := range []error{err, c.config.Check(t.Context())} {
			var fault *ConfigError
			if errors.As(err, &fault) != (c.setting != "") || fault != nil && (fault.Setting != c.setting || fault.Exit() != 2) {
				t.Errorf("%s: %v, want a fault of %q", c.name, err, c.setting)
			}
		}
		if worker != nil {
			_ = worker.Close()
		}
	}
}

func TestAllButWhatIsOpenNeedsTheToken(t *testing.T) {
	inside := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	guard := NewGuard(address("0.0.0.0"), token)
	for path, want := range map[string]int{
		"/healthz": 204, "/readyz": 204, "/": 401, "/metrics": 401, "/healthz/": 401, "//healthz": 401, "/healthz/../status": 401, "/none": 401,
	} {
		got := asked(guard.Beyond(inside, "/healthz", "/readyz"), path, "")
		if known := asked(guard.Beyond(inside, "/healthz", "/readyz"), path, token); got != want || known != 204 {
			t.Errorf("%s: %d without the token, want %d, and %d with it", path, got, want, known)
		}
	}
}

func asked(handler http.Handler, path, token string) int {
	request, got := httptest.NewRequest(http.MethodGet, "/", http.NoBody), httptest.NewRecorder()
	request.URL.Path = path
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	handler.ServeHTTP(got, request)
	return got.Code
}

// TestWhatFilesSayIsTakenOver: a token that was given up let in until the next start.
func TestWhatFilesSayIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		said, fault := []string{token}, error(nil)
		tokens, err := newFollowed("X_TOKEN_FILE", func() ([]string, error) { return said, fault },
			slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		guard := Guard{tokens: tokens.get}
		inside := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		ask := func(token string) int { return asked(guard.reading(inside), "/", token) }
		said = []string{"the-token-of-now", "the-one-before-it"}
		time.Sleep(lookEvery)
		if ask("the-token-of-now") != 204 || ask("the-one-before-it") != 204 || ask(token) != 401 {
			t.Error("the tokens of now are not those that let in")
		}
		for _, fault = range []error{io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, nil} {
			time.Sleep(lookEvery)
			if ask("the-token-of-now") != 204 {
				t.Error("a file that cannot be read keeps everybody out")
			}
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("%d lines, want one of the fault and one of its end:\n%s", lines, log.String())
		}
	})
}

// serveTLS runs a worker with a certificate, and returns its files.
func serveTLS(t *testing.T, authority *certtest.Authority, log io.Writer) (worker *Worker, cert, key string) {
	t.Helper()
	folder := t.TempDir()
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	authority.Pair(t, cert, key)
	worker, err := Listen(t.Context(), Config{Env: "X", Addr: "127.0.0.1:0", CertFile: cert, KeyFile: key}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	worker.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return worker, cert, key
}

// serialOf asks, and returns the number of the certificate that the answer came under.
func serialOf(t *testing.T, worker *Worker, authority *certtest.Authority) int64 {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool, MinVersion: tls.VersionTLS12},
	}}
	response, err := client.Get("https://" + worker.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil || string(body) != "HTTP/1.1" {
		t.Fatalf("answered %q, %v", body, err)
	}
	return response.TLS.PeerCertificates[0].SerialNumber.Int64()
}

// shared is a log that is read while it is written.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(text)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestCertificateIsRenewedInPlace: a service whose certificate ran out had to be started anew.
func TestCertificateIsRenewedInPlace(t *testing.T) {
	authority, log := certtest.New(t), &shared{}
	worker, cert, key := serveTLS(t, authority, log)
	first := serialOf(t, worker, authority)
	if worker.Scheme() != "https" {
		t.Errorf("it answers by %s", worker.Scheme())
	}
	whole, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(log.String(), "level=ERROR") && time.Now().Before(deadline) {
		if got := serialOf(t, worker, authority); got != first {
			t.Fatalf("halfway through the renewal the certificate is %d, want %d", got, first)
		}
	}
	second := authority.Pair(t, cert, key)
	for serialOf(t, worker, authority) != second {
		if time.Now().After(deadline) {
			t.Fatalf("the certificate is still the first:\n%s", log.String())
		}
	}
	if !strings.Contains(log.String(), "taken over again") {
		t.Errorf("logged:\n%s", log.String())
	}
}

// TestWarningsOfListeners: a start and the check tell what an operator may not know.
func TestWarningsOfListeners(t *testing.T) {
	folder, authority := t.TempDir(), certtest.New(t)
	cert, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	authority.Ends = time.Now().Add(time.Hour)
	authority.Pair(t, cert, key)
	for says, config := range map[string]Config{
		"": {Addr: "127.0.0.1:0"}, "unencrypted": {Addr: "0.0.0.0:0", Tokens: one(token)},
		"X_TLS_CERT_FILE ends at": {Addr: "127.0.0.1:0", CertFile: cert, KeyFile: key},
	} {
		config.Env = "X"
		worker, err := Listen(t.Context(), config, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if got := worker.Warning(); !strings.Contains(got, says) || says == "" && got != "" {
			t.Errorf("%+v: warned of %q, want %q", config, got, says)
		}
		_ = worker.Close()
	}
}

// TestFailedHandshakesDoNotFillTheLog: whoever looks whether the port is open made a line of it.
func TestFailedHandshakesDoNotFillTheLog(t *testing.T) {
	log := &shared{}
	worker, _, _ := serveTLS(t, certtest.New(t), log)
	response, err := http.Get("http://" + worker.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusBadRequest || log.String() != "" {
		t.Errorf("by HTTP it answers %s; logged %q", response.Status, log.String())
	}
	_, _ = complaints{slog.New(slog.NewTextHandler(log, nil))}.Write([]byte("http: panic serving\n"))
	if !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("what the server says of itself is not logged: %q", log.String())
	}
}

// TestLimitsHoldOnEveryListener: of each server, by HTTP and by HTTPS.
func TestLimitsHoldOnEveryListener(t *testing.T) {
	worker, _, _ := serveTLS(t, certtest.New(t), io.Discard)
	server := worker.newServer()
	if server.ReadHeaderTimeout == 0 || server.ReadTimeout == 0 || server.WriteTimeout == 0 || server.IdleTimeout == 0 ||
		server.MaxHeaderBytes != maxHeaderBytes || server.ConnState == nil || server.Protocols.HTTP2() || server.Protocols.UnencryptedHTTP2() {
		t.Errorf("a server without a bound: %+v", server)
	}
	plain, err := Listen(t.Context(), Config{Addr: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for name, c := range map[string]struct {
		request string
		within  time.Duration
		answer  string
	}{
		"headers that are too long":      {"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", 0, "HTTP/1.1 431"},
		"headers that never end":         {"GET / HTTP/1.1\r\nHost: localhost\r\n", headerTimeout, ""},
		"a connection that asks nothing": {"", headerTimeout, ""},
		"a connection that asks no more": {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", idleTimeout, "HTTP/1.1 204"},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, served := net.Pipe()
			listener := &oneConn{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
			listener.conns <- served
			server, done := plain.newServer(), make(chan error, 1)
			go func() { done <- server.Serve(listener) }()
			begun := time.Now()
			go func() { _, _ = io.WriteString(client, c.request) }()
			answer, err := io.ReadAll(client)
			if took := time.Since(begun); err != nil || took > c.within+time.Second || !strings.HasPrefix(string(answer), c.answer) {
				t.Errorf("%s: closed after %s with %q, %v", name, took, answer, err)
			}
			_ = client.Close()
			_ = server.Close()
			<-done
		})
	}
}

// oneConn is a listener with a single connection to come.
type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error { close(l.closed); return nil }

func (l *oneConn) Addr() net.Addr { return address("127.0.0.1") }
