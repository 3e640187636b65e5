package alerting

import (
	"encoding/json"
	"fmt"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/evaluate"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
)

// state is all that is kept.
type state struct {
	Version    int              `json:"version"`
	Alerts     []alert.Alert    `json:"alerts"`
	Groups     []grouping.Group `json:"groups"`
	Silences   alert.Silences   `json:"silences"`
	Objectives objectives.Kept  `json:"objectives"`
	Past       evaluate.Kept    `json:"past"`

	Shapes map[string]string `json:"shapes"`
}

const stateVersion = 1

// kept is what of the books outlives a restart.
func (b *books) kept() state {
	return state{stateVersion, b.tracker.Kept(), b.planner.Kept(), b.silences, b.objectives.Kept(), b.engine.Kept(), b.shapes}
}

// booksOf are those that were kept, by the file of the desk.
func (d *Desk) booksOf(text string) (*books, error) {
	b := newBooks()
	d.bind(b)
	if text == "" {
		return b, nil
	}
	var kept state
	if err := json.Unmarshal([]byte(text), &kept); err != nil {
		return nil, fmt.Errorf("the state of the alerts: %w", err)
	}
	if kept.Version != stateVersion {
		return nil, fmt.Errorf("the state of the alerts has the version %d", kept.Version)
	}
	b.tracker.Restore(kept.Alerts)
	b.planner.Restore(kept.Groups)
	b.silences = kept.Silences
	b.objectives.Restore(kept.Objectives)
	b.engine.Restore(kept.Past)
	b.shapes = kept.Shapes
	b.notAfter(d.now()) // who judged before may have gone by another clock
	return b, nil
}
