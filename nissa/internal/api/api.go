// Package api serves the store of runs over HTTP: as JSON, as lines of JSON that replay,
// and as a stream of server-sent events. It changes nothing. Every route is a row of one
// table, of which the OpenAPI document is made too.
package api

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
)

// Store is what is served.
type Store interface {
	Runs(ctx context.Context, before time.Time, behind string, most int) ([]runs.Run, error)
	Run(ctx context.Context, id string) (runs.Run, error)
	Seeds(ctx context.Context, run string, most int) ([]runs.Seed, error)
	Seed(ctx context.Context, run, id string) (runs.Seed, error)
	Reports(ctx context.Context, run string, since time.Time, most int) ([]runs.Report, error)
	Points(ctx context.Context, run, seed string, most int) ([]runs.Point, error)
	Events(ctx context.Context, f runstore.Filter) ([]runs.Event, error)
	Changes(ctx context.Context, after, upTo int64) ([]runs.Event, []runs.Report, error)
	Alarms(ctx context.Context) ([]runs.Alarm, error)
	Sources(ctx context.Context, after, prefix string, most int) (sources []runs.Source, more bool, err error)
	Size(ctx context.Context) (runstore.Size, error)
	Export(ctx context.Context, id string, to io.Writer) error
	Head() (int64, <-chan struct{})
}

// Bounds of what is served at a time.
const (
	maxReaders = 4  // requests that read the store; it has connections for more
	maxExports = 2  // of them, exports
	maxStreams = 64 // connections that follow
	readerWait = 10 * time.Second
)

// Config says what is served. Zero values take the default in brackets.
type Config struct {
	Store    Store
	Now      func() time.Time // by the clock by which what is kept is dated [this machine's]
	Stopping <-chan struct{}  // closed when those that follow are to end
	Logger   *slog.Logger     // [none]
}

// server answers requests.
type server struct {
	Config
	readers, exports, streams chan struct{}
}

//go:embed openapi.json
var document []byte

// Routes are all that is served below /api of the store, and the document.
func Routes(config Config) []route.Route {
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	if config.Now == nil {
		config.Now = time.Now
	}
	s := &server{
		Config:  config,
		readers: make(chan struct{}, maxReaders), exports: make(chan struct{}, maxExports), streams: make(chan struct{}, maxStreams),
	}
	return s.routes()
}

// Document describes all of Nissa's routes, those of other rooms too.
func Document() route.Route {
	return route.Route{
		Method: http.MethodGet, Path: "/api/openapi.json", Summary: "This document.", Status: http.StatusOK, Answer: json.RawMessage{},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			protect(w.Header())
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(document) // the client went away; nothing to tell it
		}),
	}
}

// Elsewhere answers below /api where there is no route.
func Elsewhere(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		fail(w, http.StatusMethodNotAllowed, "nothing is changed here")
		return
	}
	fail(w, http.StatusNotFound, "no such path")
}

// badRequestError is a parameter that cannot be read; its text is the answer.
type badRequestError struct{ text string }

func (e badRequestError) Error() string { return e.text }

// reading answers with what read finds.
func (s *server) reading(read func(*http.Request) (any, error)) http.Handler {
	return bounded(s.readers, func(w http.ResponseWriter, q *http.Request) {
		answer, err := read(q)
		if err != nil {
			s.refuse(w, q, err)
			return
		}
		respond(w, http.StatusOK, answer)
	})
}

// bounded lets in as many at a time as a bound has places.
func bounded(bound chan struct{}, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		protect(w.Header())
		if !storable(q.URL.Path) {
			fail(w, http.StatusNotFound, "not in the store")
			return
		}
		for name, values := range q.URL.Query() {
			if !storable(strings.Join(values, "")) {
				fail(w, http.StatusBadRequest, name+" is no text")
				return
			}
		}
		release, got := enter(q.Context(), bound)
		if !got {
			w.Header().Set("Retry-After", "5")
			fail(w, http.StatusServiceUnavailable, "too many requests at a time")
			return
		}
		defer release()
		next(w, q)
	})
}

// storable says whether a store can have a text: PostgreSQL would not even look for another.
func storable(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }

// enter waits for one of the places that a bound has.
func enter(ctx context.Context, bound chan struct{}) (release func(), got bool) {
	timer := time.NewTimer(readerWait)
	defer timer.Stop()
	select {
	case bound <- struct{}{}:
		return func() { <-bound }, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, false
}

func (s *server) refuse(w http.ResponseWriter, q *http.Request, err error) {
	var bad badRequestError
	switch {
	case errors.As(err, &bad):
		fail(w, http.StatusBadRequest, bad.text)
	case errors.Is(err, runstore.ErrNotFound):
		fail(w, http.StatusNotFound, "not in the store")
	default:
		if q.Context().Err() == nil {
			s.Logger.Warn("request not answered", "path", q.URL.Path, "error", err)
		}
		fail(w, http.StatusServiceUnavailable, "the store does not answer")
	}
}

// protect keeps a browser from taking an answer for anything but data.
func protect(header http.Header) {
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
}

// problem is the answer to a request that is not answered.
type problem struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, status int, text string) {
	protect(w.Header())
	respond(w, status, problem{text})
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away; nothing to tell it
}
