package look

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/settings"
)

// Watch asks the services again and again. Each of them is asked by one goroutine at a time.
type Watch struct {
	settings *settings.Settings
	heard    map[string]heard // the seeds of a run, as they were asked for last
}

// heard are the seeds of a run until something new is heard of it.
type heard struct {
	at    time.Time
	seeds []Seed
}

// Known is what Nissa tells of all runs.
type Known struct {
	Runs   []Run
	Seeds  []Seed  // of the runs that train
	Events []Event // the newest first
	Raised []Raised
}

// NewWatch reads the settings, of which there may be none.
func NewWatch() (*Watch, error) {
	resolved, err := loaded()
	if err != nil {
		return nil, err
	}
	return &Watch{settings: resolved, heard: map[string]heard{}}, nil
}

// Weatherlight asks the foundation service what it shows of itself.
func (w *Watch) Weatherlight(ctx context.Context) (*Service, error) {
	service, err := ask.Weatherlight(w.settings)
	if err != nil {
		return nil, err
	}
	var said Service
	if err := service.Get(ctx, "/status", nil, &said); err != nil {
		return nil, err
	}
	return &said, nil
}

// feedLength is how much of the feed is asked for.
const feedLength = 200

// Nissa asks what is known of runs. Of a run of which nothing new was heard the seeds are not
// asked for again.
func (w *Watch) Nissa(ctx context.Context) (*Known, error) {
	service, err := ask.Nissa(w.settings)
	if err != nil {
		return nil, err
	}
	var runs struct{ Runs []Run }
	if err := service.Get(ctx, "/api/runs", url.Values{"limit": {strconv.Itoa(mostRuns)}}, &runs); err != nil {
		return nil, err
	}
	var feed struct{ Events []Event }
	if err := service.Get(ctx, "/api/events", url.Values{"limit": {strconv.Itoa(feedLength)}}, &feed); err != nil {
		return nil, err
	}
	known := &Known{Runs: runs.Runs, Events: feed.Events}
	alerts, err := Alerts(ctx, service)
	if err != nil {
		return nil, err
	}
	known.Raised = slices.DeleteFunc(alerts, over)
	known.Seeds, err = w.seeds(ctx, service, runs.Runs)
	return known, err
}

func (w *Watch) seeds(ctx context.Context, service *ask.Service, runs []Run) (seeds []Seed, err error) {
	still := map[string]heard{}
	for _, r := range runs {
		if !r.Trains() || len(r.Seeds) == 0 || len(still) == lately {
			continue
		}
		of, known := w.heard[r.ID]
		if !known || !of.at.Equal(r.LastAt) {
			var page struct{ Seeds []Seed }
			if err := service.Get(ctx, runPath(r.ID)+"/seeds", nil, &page); err != nil {
				return nil, err
			}
			of = heard{r.LastAt, page.Seeds}
		}
		still[r.ID] = of
		seeds = append(seeds, of.seeds...)
	}
	w.heard = still
	return seeds, nil
}
