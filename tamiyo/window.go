package tamiyo

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
)

// maxWindows bounds the windows of a run; the oldest goes without a report.
const maxWindows = 16

// window watches a run after a seed was kept, for some reports with a validation loss.
type window struct {
	Seed      string  `json:"seed"`
	Blueprint string  `json:"blueprint,omitempty"`
	Command   string  `json:"command,omitempty"` // that germinated it
	Policy    string  `json:"policy,omitempty"`  // that had it begun, as an origin has it
	Epoch     uint32  `json:"epoch"`             // in which it began
	Since     uint64  `json:"since"`             // reports evaluated by then, that one too
	Seen      uint32  `json:"seen,omitempty"`    // reports so far
	Endless   uint32  `json:"endless,omitempty"` // of which the loss changed by no finite number
	Total     float32 `json:"total,omitempty"`   // of the changes of the loss
	Least     float32 `json:"least,omitempty"`
	Most      float32 `json:"most,omitempty"`
	Alarmed   bool    `json:"alarmed,omitempty"` // something critical happened
}

// watcher looks after the windows of an evaluation.
type watcher struct{ *evaluation }

// watch opens a window for a seed that was kept. One report shows nothing that the seed's
// own does not.
func (e watcher) watch(s seed) {
	if e.config.ObservationWindow <= 1 {
		return
	}
	windows := append(slices.Clone(e.record.Windows), window{
		Seed: s.ID, Blueprint: s.Blueprint, Command: s.Germination, Policy: inForce(s.begunBy(e.policy)),
		Epoch: e.record.Epoch, Since: e.record.Evaluated,
	})
	e.record.Windows = windows[max(0, len(windows)-maxWindows):]
}

// observe takes this report into the windows that are open, and reports on those
// that have seen enough. What is critical counts in every report; the change of the loss,
// where it is known.
func (e watcher) observe() {
	delta := e.loss.delta
	if e.loss.validated && !finite(e.loss.value) {
		delta = rules.Figure{Value: math.NaN(), Known: true}
	}
	alarmed := highestLevel(e.events) == levelCritical
	var open []window
	for _, w := range e.record.Windows {
		if w.Since < e.record.Evaluated {
			w.Alarmed = w.Alarmed || alarmed
			if delta.Known {
				w = w.next(float32(delta.Value))
			}
		}
		if w.Seen < e.config.ObservationWindow {
			open = append(open, w)
			continue
		}
		e.reports = append(e.reports, e.synthesis(w))
	}
	e.record.Windows = open
}

func (w window) next(delta float32) window {
	if !finite(float64(delta)) {
		w.Seen, w.Endless, w.Alarmed = w.Seen+1, w.Endless+1, true
		return w
	}
	if w.Seen == w.Endless {
		w.Least, w.Most = delta, delta
	}
	w.Seen++
	w.Total += delta
	w.Least, w.Most = min(w.Least, delta), max(w.Most, delta)
	if !finite(float64(w.Total)) { // a record holds numbers
		w.Total, w.Alarmed = 0, true
	}
	return w
}

// synthesis reports what a window showed. Its name is the same whoever makes it, and says
// which one it is.
func (e watcher) synthesis(w window) *leyline.FieldReport {
	command := w.Command
	if command == "" {
		command = e.identify("window", w.Seed)
	}
	outcome := leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL
	switch {
	case w.Alarmed || w.Total > 0:
		outcome = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION
	case w.Total < 0:
		outcome = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS
	}
	return &leyline.FieldReport{
		Version: reportVersion, ReportId: fmt.Sprintf("fr-synth-%s-%d+%d", command, w.Epoch, e.config.ObservationWindow),
		CommandId: w.Command, TrainingRunId: e.record.Run, SeedId: w.Seed, BlueprintId: w.Blueprint, Outcome: outcome,
		Metrics: map[string]float32{
			"loss_delta_total": w.Total, "loss_delta_min": w.Least, "loss_delta_max": w.Most,
		},
		ObservationWindowEpochs: w.Seen, IssuedAt: timestamppb.New(e.now), Notes: "observed",
		TamiyoPolicyVersion: cmp.Or(w.Policy, DefaultPolicyVersion),
	}
}

// checkWindows holds what a record may say of windows.
func checkWindows(windows []window) bool {
	return len(windows) <= maxWindows && !slices.ContainsFunc(windows, func(w window) bool {
		return !isWord(w.Seed) || !isText(w.Blueprint) || !isText(w.Command) || !isText(w.Policy)
	})
}
