package runs

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	// maxInterval bounds the pause between two reports that is reckoned with.
	maxInterval = 24 * time.Hour
	maxReplaced = 16
)

// Events by which Kasmina says who leads a run.
const (
	eventTrainerChanged = "trainer_changed"
	eventTrainerRefused = "trainer_refused"
)

// Leader is the trainer whose reports are the run's. One that only reports has no name.
type Leader struct {
	Trainer  string        `json:"trainer,omitempty"` // the process
	LedSince time.Time     `json:"led_since,omitzero"`
	Replaced []string      `json:"replaced,omitempty"` // trainers that lost the run, the latest at the end
	Interval time.Duration `json:"interval_ns,omitempty"`
	// Refused counts reports of processes that did not lead the run.
	Refused int64 `json:"refused_reports,omitempty"`
}

// readReport is what a trainer says beside its packet. It is false for a report that the
// service refuses as a whole: nothing comes of it, so it is of no run.
func readReport(m *Message, run string) (said trainer.Report, ok bool) {
	said, err := trainer.ReadReport(m.Attributes)
	if err != nil && !errors.Is(err, trainer.ErrNoProtocol) { // one without is of a trainer that only reports
		return said, false
	}
	return said, name(run) != "" && strings.TrimSpace(run) == run
}

// admit reports whether a report is of the trainer that leads the run or takes it over.
// Kasmina judges so too, and tells of it: nobody is shown to lead whom it refuses.
func (r *Run) admit(said *trainer.Report, at time.Time) bool {
	id, resumes := name(said.TrainerID), name(said.Resumes)
	switch {
	case id == r.Trainer:
		return true
	case id == "":
		return false // and the run has one that grows it
	case slices.Contains(r.Replaced, id):
		return !at.After(r.LedSince) // or what was on its way is history
	case r.Trainer != "" && resumes != r.Trainer && at.Sub(r.Reported) < r.silence():
		return false
	}
	if r.Trainer == "" {
		r.Trainer = resumes // what it reported may come yet
	}
	r.lead(id, at)
	return true
}

// lead hands the run to a trainer.
func (r *Run) lead(id string, at time.Time) {
	r.Replaced = slices.DeleteFunc(r.Replaced, func(other string) bool { return other == id })
	if r.Trainer != "" && r.Trainer != id {
		r.Replaced = append(r.Replaced, r.Trainer)
	}
	r.Replaced = slices.Delete(r.Replaced, 0, max(len(r.Replaced)-maxReplaced, 0))
	r.Trainer, r.LedSince, r.Interval = id, at, 0
}

// follow takes Kasmina's word for who leads the run, unless it is older than who does.
func (r *Run) follow(event *leyline.TelemetryEvent, at time.Time) {
	var leader string
	switch event.GetDescription() {
	case eventTrainerChanged:
		leader = name(event.GetAttributes()["trainer_id"])
	case eventTrainerRefused:
		leader = name(event.GetAttributes()["leader"])
	}
	if leader != "" && leader != r.Trainer && at.After(r.LedSince) {
		r.lead(leader, at)
	}
}

// silence is how long its trainer may be silent before another takes the run over, as
// Kasmina has it when nothing else is set.
func (l *Leader) silence() time.Duration { return max(silentLeast, silentIntervals*l.Interval) }

// noteInterval smooths the time between the reports of a trainer, faster where it falls. An
// outage counts for little of its length.
func (r *Run) noteInterval(at time.Time) {
	passed := min(at.Sub(r.Reported), maxInterval)
	switch {
	case r.Reported.IsZero() || passed <= 0 || r.Reported.Before(r.LedSince):
	case r.Interval == 0:
		r.Interval = passed
	default:
		passed = min(passed, 2*r.silence())
		if passed < r.Interval {
			r.Interval -= (r.Interval - passed) / 2
			return
		}
		r.Interval += (passed - r.Interval) / 4
	}
}
