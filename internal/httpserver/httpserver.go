// Package httpserver serves HTTP as a worker: within bounds, and ended in good order.
package httpserver

import (
	"context"
	"errors"
	"fmt"
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
	// process may have open. One more ends the one that waited longest for a request.
	maxConnections = 256
	minConnections = 4
	// shutdownTimeout bounds the wait for requests under way at a stop.
	shutdownTimeout = 2 * time.Second
)

// Worker serves a handler on one address. Its first run takes the listener that Listen
// opened, a later one opens the same address again.
type Worker struct {
	handler  http.Handler
	logger   *slog.Logger
	addr     net.Addr
	listener net.Listener // nil once a run has taken it
}

// Listen opens an address for a worker.
func Listen(ctx context.Context, addr string) (*Worker, error) {
	listener, err := listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &Worker{addr: listener.Addr(), listener: listener}, nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", addr) // its error names the address
}

// Serve sets what the worker serves, and where the server's own complaints go. It is
// called before the first Run.
func (w *Worker) Serve(handler http.Handler, logger *slog.Logger) *Worker {
	w.handler, w.logger = handler, logger
	return w
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
	server := &http.Server{
		Handler: forHosts(w.addr, w.handler), ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: answerTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ConnState: newPlaces(connections()).note,
		ErrorLog: slog.NewLogLogger(w.logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	supervise.Ready(ctx)
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP on %s: %w", w.addr, err)
	case <-ctx.Done():
	}
	return stop(supervise.Work(ctx), server, served)
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
