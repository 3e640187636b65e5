// Package httpserver serves HTTP as a worker: within bounds, and ended in good order.
package httpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

const (
	// headerTimeout ends connections that never ask for anything, idleTimeout those that
	// ask no more. requestTimeout bounds how long a request may take to come, and
	// answerTimeout how long a client may take for the answer; a handler whose answer is
	// large gives it more by a deadline of its own.
	headerTimeout  = 5 * time.Second
	idleTimeout    = time.Minute
	requestTimeout = 10 * time.Second
	answerTimeout  = 30 * time.Second
	maxHeaderBytes = 16 << 10
	// maxConnections bounds those that are open, as does a quarter of the files that the
	// process may have open. One more ends the one that waited longest for a request, or a stranger's.
	maxConnections = 256
	minConnections = 4
	// shutdownTimeout bounds the wait for requests under way at a stop.
	shutdownTimeout = 2 * time.Second
)

// Worker serves a handler on one address. Its first run takes the listener that Listen
// opened, a later one opens the same address again.
type Worker struct {
	env         string // what the names of its settings begin with
	handler     http.Handler
	logger      *slog.Logger
	addr        net.Addr
	listener    net.Listener // nil once a run has taken it
	tokens      *followed[[]string]
	certificate *followed[tls.Certificate] // without a Leaf: plain HTTP
}

// Listen opens an address for a worker, unless Check would refuse it. The logger gets the
// server's own complaints.
func Listen(ctx context.Context, config Config, logger *slog.Logger) (*Worker, error) {
	if err := config.Check(ctx); err != nil {
		return nil, err
	}
	tokens, err := newFollowed(config.Env+"_TOKEN_FILE", config.tokens, logger)
	if err != nil {
		return nil, err
	}
	certificate, err := newFollowed(config.Env+"_TLS_CERT_FILE", config.certificate, logger)
	if err != nil {
		return nil, err
	}
	listener, err := listen(ctx, config.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w: set %s_ADDR to another port, or end who has it", err, config.Env)
	}
	if err != nil {
		return nil, err
	}
	w := &Worker{env: config.Env, logger: logger, addr: listener.Addr(), listener: listener, tokens: tokens, certificate: certificate}
	if !loopback(w.addr) && len(tokens.get()) == 0 { // its name leads elsewhere by now
		return nil, errors.Join(config.exposed(), listener.Close())
	}
	return w, nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", addr) // its error names the address
}

// Serve sets what the worker serves. It is called before the first Run.
func (w *Worker) Serve(handler http.Handler) *Worker {
	w.handler = handler
	return w
}

// Guard lets in who knows one of the tokens.
func (w *Worker) Guard() Guard { return Guard{tokens: w.tokens.get, local: loopback(w.addr)} }

// Scheme is http or https.
func (w *Worker) Scheme() string {
	if w.certificate.get().Leaf == nil {
		return "http"
	}
	return "https"
}

// expiring is how long before its end a certificate is warned of.
const expiring = 14 * 24 * time.Hour

// Expiry is when the certificate ends, the zero time without one, and what is said of it once
// that is near or past.
func (w *Worker) Expiry() (ends time.Time, warning string) {
	leaf := w.certificate.get().Leaf
	if leaf == nil {
		return time.Time{}, ""
	}
	ends = leaf.NotAfter
	if left := time.Until(ends); left < expiring {
		word := "ends"
		if left <= 0 {
			word = "ended"
		}
		warning = fmt.Sprintf("the certificate in %s_TLS_CERT_FILE %s at %s", w.env, word, ends.Format(time.RFC3339))
	}
	return ends, warning
}

// Warning is of what an operator may not know of the listener, or empty.
func (w *Worker) Warning() string {
	if ends, warning := w.Expiry(); !ends.IsZero() {
		return warning
	}
	if loopback(w.addr) {
		return ""
	}
	return fmt.Sprintf("tokens, and all that is served, go unencrypted on %s: set %s_TLS_CERT_FILE and %[2]s_TLS_KEY_FILE, or have a proxy before it",
		w.addr, w.env)
}

// Addr is the address that was opened.
func (w *Worker) Addr() net.Addr { return w.addr }

// Close closes the listener that no run has taken.
func (w *Worker) Close() error {
	if w.listener == nil {
		return nil
	}
	return w.listener.Close()
}

// Run serves until ctx is done, and then lets requests under way finish for a while.
func (w *Worker) Run(ctx context.Context) error {
	listener, err := w.take(ctx)
	if err != nil {
		return err
	}
	server := w.newServer()
	serve := func() error { return server.Serve(listener) }
	if server.TLSConfig != nil {
		serve = func() error { return server.ServeTLS(listener, "", "") }
	}
	served := make(chan error, 1)
	go func() { served <- serve() }()
	supervise.Ready(ctx)
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP on %s: %w", w.addr, err)
	case <-ctx.Done():
	}
	return stop(supervise.Work(ctx), server, served)
}

// newServer has all bounds. It speaks HTTP/1 alone, where one connection is one request at a time:
// the bound on connections is one on requests.
func (w *Worker) newServer() *http.Server {
	places := newPlaces(connections())
	server := &http.Server{
		Handler: asStrangers(forHosts(w.addr, w.handler)), ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout,
		WriteTimeout: answerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ConnState: places.note, ConnContext: places.introduce,
		ErrorLog: log.New(complaints{w.logger}, "", 0), Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	if w.certificate.get().Leaf != nil {
		server.TLSConfig = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return new(w.certificate.get()), nil },
		}
	}
	return server
}

// complaints logs what a server says of itself. A handshake that fails is for its client to tell of: whoever
// looks whether the port is open would fill the log.
type complaints struct{ logger *slog.Logger }

func (c complaints) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = slog.LevelDebug
	}
	c.logger.Log(context.Background(), level, string(bytes.TrimSpace(line))) // a writer carries none
	return len(line), nil
}

// connections is how many may be open: clients must not leave the process without a file for
// its own work, nor this server without one for the next of them.
func connections() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return maxConnections
	}
	return int(max(minConnections, min(maxConnections, files.Cur/4)))
}

func (w *Worker) take(ctx context.Context) (net.Listener, error) {
	if first := w.listener; first != nil {
		w.listener = nil
		return first, nil
	}
	listener, err := listen(ctx, w.addr.String())
	if err != nil {
		return nil, fmt.Errorf("listen again: %w", err)
	}
	return listener, nil
}

// stop cuts off what is left after the bound.
func stop(ctx context.Context, server *http.Server, served <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
	}
	if cause := <-served; !errors.Is(cause, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", cause)
	}
	return nil
}
