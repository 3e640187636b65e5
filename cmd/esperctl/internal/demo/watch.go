package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
)

const (
	// settleTimeout bounds the wait for the service after each report. A run that is
	// not answered goes on; it only loses its repeatability.
	settleTimeout = time.Second
	// settlePause is how long to wait before the next look.
	settlePause = 2 * time.Millisecond
	// maxRunView bounds the answer about one run.
	maxRunView = 1 << 20
)

// runView is what the service shows of a run at /runs/<run>, as far as the demo
// looks at it.
type runView struct {
	Kasmina struct {
		LastOrder uint64     `json:"last_order"`
		Seeds     []seedView `json:"seeds"`
		Pending   []struct {
			Kind   string `json:"kind"`
			Seed   string `json:"seed"`
			Reason string `json:"reason"`
		} `json:"pending_orders"`
	} `json:"kasmina"`
	Tamiyo struct {
		Report uint64 `json:"report"` // evaluated last
		Seeds  []struct {
			ID      string `json:"id"`
			Ended   bool   `json:"ended"`
			Pending struct {
				Operation string `json:"operation"`
			} `json:"pending"`
		} `json:"seeds"`
	} `json:"tamiyo"`
}

// seedView is one seed there.
type seedView struct {
	ID          string             `json:"id"`
	Blueprint   string             `json:"blueprint"`
	Stage       string             `json:"stage"`
	Ordered     string             `json:"ordered"`
	Waiting     bool               `json:"waits_for_kernel"`
	Order       uint64             `json:"order"`
	Measured    map[string]float64 `json:"measured"`
	LastGate    string             `json:"last_gate"`
	LastFailure string             `json:"last_failure"`
}

func (v *runView) seed(id string) (seedView, bool) {
	at := slices.IndexFunc(v.Kasmina.Seeds, func(s seedView) bool { return s.ID == id })
	if at < 0 {
		return seedView{}, false
	}
	return v.Kasmina.Seeds[at], true
}

// settled says whether everything that follows from a report is decided: it was
// evaluated, and what the controller asked for is on its way to the trainer.
func (v *runView) settled(report uint64) bool {
	if v.Tamiyo.Report < report {
		return false
	}
	for _, asked := range v.Tamiyo.Seeds {
		seed, known := v.seed(asked.ID)
		switch {
		case asked.Ended:
		case asked.Pending.Operation == "GERMINATE" && (!known || seed.Waiting || seed.Order == 0):
			return false
		case asked.Pending.Operation == "FOSSILIZE" && known && seed.Stage != stageFossilized && seed.Ordered != stageFossilized:
			return false
		case asked.Pending.Operation == "CULL" && known && lives(seed.Stage):
			return false
		}
	}
	return true
}

// Names of stages.
const (
	stageGerminated   = "SEED_STAGE_GERMINATED"
	stageTraining     = "SEED_STAGE_TRAINING"
	stageBlending     = "SEED_STAGE_BLENDING"
	stageShadowing    = "SEED_STAGE_SHADOWING"
	stageProbationary = "SEED_STAGE_PROBATIONARY"
	stageFossilized   = "SEED_STAGE_FOSSILIZED"
	stageCulled       = "SEED_STAGE_CULLED"
)

// lives says whether a seed of that stage is still on its way.
func lives(stage string) bool {
	return slices.Contains([]string{stageGerminated, stageTraining, stageBlending, stageShadowing, stageProbationary}, stage)
}

// watch looks at the service's record of one run.
type watch struct {
	client *http.Client
	url    string
}

func newWatch(address, run string) *watch {
	return &watch{
		client: &http.Client{Transport: &http.Transport{MaxIdleConns: 1}},
		url:    "http://" + address + "/runs/" + url.PathEscape(run),
	}
}

func (w *watch) close() { w.client.CloseIdleConnections() }

// settle waits until the service has decided on a report and its orders have
// arrived, and returns the last that it saw of the run. Without an answer in time
// the run goes on.
func (w *watch) settle(ctx context.Context, report uint64, g *graft.Graft) (*runView, error) {
	limited, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	pause := time.NewTicker(settlePause)
	defer pause.Stop()
	for {
		view, err := w.look(limited)
		if err == nil && view.settled(report) {
			if err := g.Await(limited, view.Kasmina.LastOrder); err != nil {
				return view, ctx.Err()
			}
			return view, nil
		}
		select {
		case <-pause.C:
		case <-limited.Done():
			return view, ctx.Err()
		}
	}
}

var errNoRecord = errors.New("the service does not know the run")

func (w *watch) look(ctx context.Context) (*runView, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxRunView))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s", errNoRecord, response.Status)
	}
	view := new(runView)
	if err := json.Unmarshal(content, view); err != nil {
		return nil, fmt.Errorf("read the record of the run: %w", err)
	}
	return view, nil
}
