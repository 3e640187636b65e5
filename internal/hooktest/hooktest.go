// Package hooktest is a webhook for tests of who is told of alerts.
package hooktest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Hook is a webhook that takes down what it is told.
type Hook struct {
	URL  string
	Down atomic.Bool // out of order

	mu   sync.Mutex
	told []Alert
}

// Alert is what it was told of one.
type Alert struct {
	Path   string // that was asked
	Status string
	Labels map[string]string
}

// New starts one that ends with the test.
func New(t testing.TB) *Hook {
	t.Helper()
	h := new(Hook)
	server := httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(server.Close)
	h.URL = server.URL
	return h
}

// Told is all that it was told, in that order.
func (h *Hook) Told() []Alert {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.told)
}

func (h *Hook) serve(w http.ResponseWriter, r *http.Request) {
	if h.Down.Load() {
		http.Error(w, "down", http.StatusBadGateway)
		return
	}
	var body struct{ Alerts []Alert }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range body.Alerts {
		a.Path = r.URL.Path
		h.told = append(h.told, a)
	}
}
