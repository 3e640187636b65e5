package look

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/settings"
)

// Watch asks the services again and again. Each of them is asked by one goroutine at a time.
type Watch struct {
	settings            *settings.Settings
	weatherlight, nissa link
	heard               map[string]heard // the seeds of a run, as they were asked for last
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
	return &Watch{
		settings: resolved, weatherlight: link{find: ask.Weatherlight}, nissa: link{find: ask.Nissa}, heard: map[string]heard{},
	}, nil
}

// Close ends the connections, once nobody asks any more.
func (w *Watch) Close() {
	w.weatherlight.close()
	w.nissa.close()
}

// Weatherlight asks the foundation service what it shows of itself.
func (w *Watch) Weatherlight(ctx context.Context) (*Service, error) {
	var said Service
	err := w.weatherlight.ask(w.settings, func(service *ask.Service) error { return service.Get(ctx, "/status", nil, &said) })
	if err != nil {
		return nil, err
	}
	return &said, nil
}

// feedLength is how much of the feed is asked for.
const feedLength = 200

// Nissa asks what is known of runs. Of a run of which nothing new was heard the seeds are not
// asked for again.
func (w *Watch) Nissa(ctx context.Context) (known *Known, err error) {
	err = w.nissa.ask(w.settings, func(service *ask.Service) error {
		known, err = w.known(ctx, service)
		return err
	})
	return known, err
}

func (w *Watch) known(ctx context.Context, service *ask.Service) (*Known, error) {
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

// link is a service that is asked again and again.
type link struct {
	find    func(*settings.Settings) (*ask.Service, error)
	service *ask.Service
}

// ask asks over a connection that stays. The token and whom to trust are read again after the service
// let nobody in, or was not reached: they may be others by now.
func (l *link) ask(resolved *settings.Settings, question func(*ask.Service) error) (err error) {
	if l.service == nil {
		if l.service, err = l.find(resolved); err != nil {
			return err
		}
		l.service.Keep()
	}
	err = question(l.service)
	refused, is := errors.AsType[*ask.RefusedError](err)
	shut := is && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden)
	if _, away := errors.AsType[*ask.UnreachableError](err); shut || away {
		l.close()
	}
	return err
}

func (l *link) close() {
	if l.service != nil {
		l.service.Close()
		l.service = nil
	}
}
