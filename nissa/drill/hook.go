package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/httpserver"
)

// arrival is a notification of a rule at a receiver, of alerts of one mark.
type arrival struct{ receiver, rule, mark, status string }

// hook stands for all receivers, and notes when what arrives at each.
type hook struct {
	url    string
	stop   context.CancelFunc
	served chan error

	mu      sync.Mutex
	arrived map[arrival]time.Time // the first time
	refuses map[string]bool       // receivers
	news    chan struct{}         // closed when something arrives
}

func listen(ctx context.Context) (*hook, error) {
	server, err := httpserver.Listen(ctx, httpserver.Config{Addr: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	h := &hook{
		url: "http://" + server.Addr().String() + "/", served: make(chan error, 1),
		arrived: map[arrival]time.Time{}, refuses: map[string]bool{}, news: make(chan struct{}),
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // until it is closed
	h.stop = stop
	go func() { h.served <- server.Serve(http.HandlerFunc(h.take)).Run(serving) }()
	return h, nil
}

func (h *hook) close() error {
	h.stop()
	return <-h.served
}

func (h *hook) urlOf(receiver string) string { return h.url + receiver }

func (h *hook) refuse(receiver string, on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuses[receiver] = on
}

func (h *hook) take(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct {
			Status string            `json:"status"`
			Labels map[string]string `json:"labels"`
		} `json:"alerts"`
	}
	receiver := strings.TrimPrefix(r.URL.Path, "/")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuses[receiver] {
		http.Error(w, "this is a drill", http.StatusServiceUnavailable)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, a := range body.Alerts {
		key := arrival{receiver, a.Labels["alertname"], a.Labels["instance"], a.Status}
		if _, before := h.arrived[key]; !before {
			h.arrived[key] = time.Now()
		}
	}
	close(h.news)
	h.news = make(chan struct{})
}

// await waits until all of some have arrived, and returns when the last did.
func (h *hook) await(ctx context.Context, wanted []arrival) (last time.Time, missing []arrival) {
	for {
		h.mu.Lock()
		last, missing = time.Time{}, nil
		for _, key := range wanted {
			at, has := h.arrived[key]
			if !has {
				missing = append(missing, key)
			} else if at.After(last) {
				last = at
			}
		}
		news := h.news
		h.mu.Unlock()
		if len(missing) == 0 {
			return last, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return last, missing
		}
	}
}
