package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// book knows so many runs, or fails.
type book struct {
	runs []string
	err  error
}

func (b book) Runs(_ context.Context, after string, limit int) ([]string, error) {
	first := slices.IndexFunc(b.runs, func(run string) bool { return run > after })
	if first < 0 {
		return nil, b.err
	}
	return b.runs[first:min(len(b.runs), first+limit)], b.err
}

func (b book) View(_ context.Context, run string) (*control.View, error) {
	if !slices.Contains(b.runs, run) {
		return nil, b.err
	}
	return &control.View{Run: run}, b.err
}

func TestRunsAreServedInPages(t *testing.T) {
	for _, count := range []int{0, 1, 199, 200, 201, 400, 450} {
		known := make([]string, count)
		for i := range known {
			known[i] = fmt.Sprintf("run-%03d", i)
		}
		server := serve(t, newRuns(book{runs: known}))
		var got []string
		for next := ""; ; {
			reply := request(t, server, http.MethodGet, "/runs?after="+next)
			var page runList
			if err := json.Unmarshal(reply.body, &page); err != nil || page.Runs == nil || len(page.Runs) > 200 {
				t.Fatalf("of %d runs: %s, %v", count, reply.body, err)
			}
			if got = append(got, page.Runs...); page.Next == "" {
				break
			}
			next = page.Next
		}
		if !slices.Equal(got, known) {
			t.Errorf("%d of %d runs are served", len(got), count)
		}
	}
}

func TestRunIsServedOrSaidToBeUnknown(t *testing.T) {
	away := errors.New("no bus")
	for _, row := range []struct {
		name, path string
		book       book
		code       int
	}{
		{"known", "/runs/run-1", book{runs: []string{"run-1"}}, http.StatusOK},
		{"unknown", "/runs/run-2", book{runs: []string{"run-1"}}, http.StatusNotFound},
		{"nobody knows", "/runs/run-1", book{err: away}, http.StatusServiceUnavailable},
		{"no list", "/runs", book{err: away}, http.StatusServiceUnavailable},
	} {
		mux := http.NewServeMux()
		mux.Handle("GET /runs", newRuns(row.book))
		mux.Handle("GET /runs/{run}", newRuns(row.book))
		got := request(t, serve(t, mux), http.MethodGet, row.path)
		var view control.View
		err := json.Unmarshal(got.body, &view)
		if got.code != row.code || err != nil || (view.Run == "run-1") != (row.code == http.StatusOK) {
			t.Errorf("%s: %d %s, %v", row.name, got.code, got.body, err)
		}
	}
}
