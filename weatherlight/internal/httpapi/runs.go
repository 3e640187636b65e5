package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

const (
	// runsTimeout bounds the look at the records of one request.
	runsTimeout = 2 * time.Second
	// runsPage is how many runs one page names.
	runsPage = 200
)

// Book is where the records of runs are looked up; *control.Room is one.
type Book interface {
	// Runs returns up to limit names that follow one, "" for the first, in order.
	Runs(ctx context.Context, after string, limit int) ([]string, error)
	// View is nil for a run that nobody knows.
	View(ctx context.Context, run string) (*control.View, error)
}

// runList is the body of /runs: {"runs": [...], "next": "..."}, next being the query
// parameter after of the next page.
type runList struct {
	Runs []string `json:"runs"`
	Next string   `json:"next,omitempty"`
}

// newRuns serves /runs, the names of the runs that are known, 200 a page, and
// /runs/{run}, all that is known of one.
func newRuns(book Book) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), runsTimeout)
		defer cancel()
		if run := r.PathValue("run"); run != "" {
			serveRun(ctx, w, book, run)
			return
		}
		serveRuns(ctx, w, book, r.URL.Query().Get("after"))
	})
}

func serveRuns(ctx context.Context, w http.ResponseWriter, book Book, after string) {
	runs, err := book.Runs(ctx, after, runsPage)
	if err != nil {
		unavailable(w, err)
		return
	}
	list := runList{Runs: append([]string{}, runs...)}
	if len(runs) == runsPage {
		list.Next = runs[len(runs)-1]
	}
	writeJSON(w, http.StatusOK, list)
}

func serveRun(ctx context.Context, w http.ResponseWriter, book Book, run string) {
	view, err := book.View(ctx, run)
	switch {
	case err != nil:
		unavailable(w, err)
	case view == nil:
		writeJSON(w, http.StatusNotFound, map[string]string{"status": "unknown run"})
	default:
		writeJSON(w, http.StatusOK, view)
	}
}

func unavailable(w http.ResponseWriter, err error) {
	writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": err.Error()})
}

// writeJSON answers with a body as indented JSON.
func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // the client may be gone
}
