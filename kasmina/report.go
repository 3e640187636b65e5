package kasmina

import (
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// reading is one report as the seeds are compared with it.
type reading struct {
	report    *trainer.Report
	entries   map[string]*entry
	listed    []string // ids in the order of the report
	stored    millis
	orderRead uint64
	halted    bool

	// adopting: the run has another trainer now, or its record was lost: what the
	// trainer tells is what counts.
	adopting bool
	rebuilt  bool   // the record was lost
	known    uint64 // the last order that the record knows of
}

// entry is one seed as its trainer tells of it.
type entry struct {
	stage   leyline.SeedLifecycleStage
	order   uint64
	paused  bool
	failed  bool
	failure trainer.AttachFailure
	alpha   evidence.Figure
	steps   int
	seen    *evidence.Figures
}

// attached says whether an entry tells of a seed in the model.
func (e *entry) attached() bool {
	return e.stage >= lifecycle.Training && e.stage <= lifecycle.Fossilized
}

const (
	maxEntries    = 64
	maxAlphaSteps = 1 << 24
	maxInterval   = 24 * time.Hour
	// refusalInterval is how often a refused trainer is told of.
	refusalInterval = 60_000
)

// report takes a trainer's report: who leads the run, then each seed.
func (st *step) report(m Report) {
	if m.Packet == nil {
		st.d.Ignored = IgnoredEmpty
		return
	}
	if !m.Protocol {
		st.watch()
		return
	}
	stored := momentOf(m.Stored)
	if stored == 0 {
		stored = st.now
	}
	stale := !m.Issued.IsZero() && stored.since(momentOf(m.Issued)) > freshnessWindow
	switch {
	case stale:
		st.d.Ignored = IgnoredStale
		return
	case m.Report.TrainerID == "":
		st.d.Ignored = IgnoredUnnamed
		return
	}
	rc := &reading{report: &m.Report, stored: stored, known: st.r.LastOrder}
	if st.d.Ignored = st.stranger(&m.Report, rc); st.d.Ignored != "" {
		return
	}
	st.changed = true
	st.take(m, rc)
	rc.read(m.Packet)
	st.entries = rc.entries
	st.adoptHalt(rc)
	st.r.Ended = withoutOld(st.r.Ended)
	st.compare(rc)
	st.abandon(st.settleOrders(rc))
	st.holdEmergency(rc)
	st.releaseDue()
	st.tune()
	st.emitAll()
}

// watch tells once of a trainer that only reports. A run that has a trainer is
// not changed by one.
func (st *step) watch() {
	if st.r.Trainer.ID != "" {
		st.d.Ignored = IgnoredBare
		return
	}
	if st.r.Watched {
		return
	}
	st.r.Watched = true
	st.event("trainer_watched", levelInfo, "training_run_id", st.r.Run)
}

// stranger says why a report is not of the trainer that leads the run, nor of one
// that takes it over; it is empty when it is.
func (st *step) stranger(report *trainer.Report, rc *reading) string {
	t := &st.r.Trainer
	switch {
	case t.ID == "":
		rc.adopting, rc.rebuilt = true, true
		t.ID, t.Began = report.TrainerID, rc.stored
		return ""
	case t.ID == report.TrainerID && report.Number <= t.Number:
		return IgnoredRepeated
	case t.ID == report.TrainerID:
		return ""
	case slices.Contains(t.Retired, report.TrainerID) && rc.stored <= t.Began:
		return IgnoredRetired
	case slices.Contains(t.Retired, report.TrainerID):
		st.refuseTrainer(report.TrainerID)
		return IgnoredSecond
	case report.Resumes != t.ID && rc.stored.since(t.Stored) < st.config.silence(t):
		st.refuseTrainer(report.TrainerID)
		return IgnoredSecond
	}
	rc.adopting, st.r.Tuned = true, false
	st.event("trainer_changed", levelWarning, "trainer_id", report.TrainerID, "replaces", t.ID,
		"resumes", strconv.FormatBool(report.Resumes == t.ID))
	st.r.Refused = without(st.r.Refused, func(p refusedPeer) bool { return p.ID == report.TrainerID })
	*t = trainerState{
		ID: report.TrainerID, Began: rc.stored, Retired: appended(t.Retired, t.ID, maxRetired),
		pace: t.pace, // it is the same training, most often
	}
	return ""
}

// refuseTrainer tells of a second trainer of the run, once a minute.
func (st *step) refuseTrainer(id string) {
	for _, refused := range st.r.Refused {
		if refused.ID == id && st.now-refused.Told < refusalInterval {
			return
		}
	}
	rest := without(st.r.Refused, func(p refusedPeer) bool { return p.ID == id })
	st.r.Refused = appended(rest, refusedPeer{ID: id, Told: st.now}, maxRefused)
	st.event("trainer_refused", levelCritical, "trainer_id", id, "leader", st.r.Trainer.ID,
		"training_run_id", st.r.Run)
}

// take remembers what the trainer told of itself.
func (st *step) take(m Report, rc *reading) {
	t, report := &st.r.Trainer, &m.Report
	if t.Silent {
		t.Silent = false
		st.event("run_heard", levelInfo, "training_run_id", st.r.Run)
	}
	st.noteInterval(t, rc.stored)
	t.Number, t.Stored = report.Number, max(rc.stored, t.Stored)
	t.Epoch, t.Step = m.Packet.GetCurrentEpoch(), m.Packet.GetGlobalStep()
	t.Layers, t.Slots, t.Accepts, t.Access = report.HostLayers, report.Slots, report.Accepts, report.KernelAccess
	t.Halted = m.Packet.GetTrainingMetrics()[trainer.MetricHalted] == 1
	rc.halted, rc.orderRead = t.Halted, report.OrderRead
	st.r.LastOrder = max(st.r.LastOrder, report.OrderRead)
	st.first = max(st.first, st.r.LastOrder)
	if index := max(t.Step, uint64(t.Epoch)); index > 0 {
		st.index = strconv.FormatUint(index, 10)
	}
}

// noteInterval smooths the time between reports, faster where it falls. An outage
// counts for little of its length, so that silence is noticed after it as before; two such
// gaps in a row are how often the run is reported now.
func (st *step) noteInterval(t *trainerState, stored millis) {
	if t.Stored == 0 || stored <= t.Stored {
		return
	}
	passed := min(stored.since(t.Stored), maxInterval)
	last, silence := time.Duration(t.Gap)*time.Millisecond, st.config.silence(t)
	t.Gap = passed.Milliseconds()
	switch known := t.interval(); {
	case known == 0:
		t.Interval = t.Gap
	case min(last, passed) > silence:
		t.Interval = min(last, passed).Milliseconds()
	default:
		t.Interval = smoothed(known, min(passed, 2*silence)).Milliseconds()
	}
}

// smoothed is the time between two reports after one more took so long, faster where it
// falls.
func smoothed(known, passed time.Duration) time.Duration {
	if passed < known {
		return known - (known-passed)/2
	}
	return known + (passed-known)/4
}

func (rc *reading) read(packet *leyline.SystemStatePacket) {
	rc.entries = make(map[string]*entry, len(packet.GetSeedStates()))
	for _, state := range packet.GetSeedStates() {
		id := state.GetSeedId()
		if id == "" || len(id) > maxIDLength || len(rc.entries) >= maxEntries {
			continue
		}
		if _, twice := rc.entries[id]; twice {
			continue
		}
		rc.entries[id] = readEntry(state)
		rc.listed = append(rc.listed, id)
	}
}

func readEntry(state *leyline.SeedState) *entry {
	metrics := state.GetMetrics()
	e := &entry{
		stage:  state.GetStage(),
		order:  uint64(wholeNumber(metrics[trainer.MetricOrder], maxOrder)),
		paused: metrics[trainer.MetricPaused] == 1,
		failed: metrics[trainer.MetricAttachFailed] == 1,
		failure: trainer.AttachFailure(
			wholeNumber(metrics[trainer.MetricAttachReason], int(trainer.AttachNoRoom))),
		alpha: evidence.ReadFigure(metrics, trainer.MetricAlpha),
		steps: wholeNumber(metrics[trainer.MetricAlphaSteps], maxAlphaSteps),
		seen:  evidence.Read(metrics),
	}
	if norm := evidence.Figure(state.GetGradientNorm()); !e.seen.GradientNorm.Known() && norm != 0 {
		e.seen.GradientNorm = evidence.ReadFigure(map[string]float32{"": float32(norm)}, "")
	}
	return e
}

// wholeNumber is a count out of a metric; what is none is 0.
func wholeNumber(value float32, most int) int {
	if value >= 0 && value <= float32(most) {
		return int(value)
	}
	return 0
}
