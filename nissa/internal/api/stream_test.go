package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// busyStore has something new whenever it is told so, and counts who looks.
type busyStore struct {
	Store

	mu      sync.Mutex
	head    int64
	changed chan struct{}
	looks   int
	seen    int64 // up to where
}

func (s *busyStore) Head() (int64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.changed
}

func (s *busyStore) grow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *busyStore) Changes(_ context.Context, _, upTo int64) ([]runs.Event, []runs.Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	s.seen = upTo
	return nil, nil, nil
}

func (s *busyStore) told() (looks int, seen int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks, s.seen
}

// patientWriter is a connection that takes everything.
type patientWriter struct{ http.ResponseWriter }

func (patientWriter) SetWriteDeadline(time.Time) error { return nil }
func (patientWriter) Flush()                           {}

// A client is told at once of what is new after a pause, and of what comes each moment a few
// times a second.
func TestBusyStoreIsLookedAtAFewTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, stopping := &busyStore{changed: make(chan struct{})}, make(chan struct{})
		handler := http.NewServeMux()
		route.Register(handler, httpserver.NewGuard(&net.UnixAddr{}, ""), Routes(Config{Store: store, Stopping: stopping}))
		var following sync.WaitGroup
		following.Go(func() {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/stream", nil)
			handler.ServeHTTP(patientWriter{httptest.NewRecorder()}, request)
		})
		time.Sleep(time.Minute)
		store.grow()
		synctest.Wait()
		if looks, seen := store.told(); looks != 1 || seen != 1 {
			t.Errorf("after a pause: %d looks up to %d", looks, seen)
		}
		for range 2000 {
			time.Sleep(time.Millisecond)
			store.grow()
		}
		time.Sleep(pace)
		synctest.Wait()
		if looks, seen := store.told(); looks > 13 || seen != 2001 {
			t.Errorf("%d looks up to %d", looks, seen)
		}
		close(stopping)
		following.Wait()
	})
}

// TestStreamEndsWithItsToken: whoever had a token that was taken away read on for as long as he stayed.
func TestStreamEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var token atomic.Value
		token.Store("the-first-of-two-tokens")
		worker, err := httpserver.Listen(t.Context(), httpserver.Config{
			Addr: "0.0.0.0:0", Tokens: func() ([]string, error) { return []string{token.Load().(string)}, nil },
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer worker.Close()
		handler := http.NewServeMux()
		route.Register(handler, worker.Guard(), Routes(Config{Store: &busyStore{changed: make(chan struct{})}, Stopping: make(chan struct{})}))
		begun, took := time.Now(), time.Duration(0)
		var following sync.WaitGroup
		following.Go(func() {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/stream", nil)
			request.Header.Set("Authorization", "Bearer the-first-of-two-tokens")
			handler.ServeHTTP(patientWriter{httptest.NewRecorder()}, request)
			took = time.Since(begun)
		})
		time.Sleep(time.Minute)
		token.Store("the-second-of-two-tokens")
		time.Sleep(time.Minute)
		following.Wait()
		if took < time.Minute || took > time.Minute+heartbeat {
			t.Errorf("the stream went on for %s, its token for %s", took, time.Minute)
		}
	})
}
