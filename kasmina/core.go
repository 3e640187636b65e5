package kasmina

import (
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
)

// Core decides on seeds. It is immutable and safe for concurrent use: all that
// it knows of a run is in the record that it is handed.
type Core struct{ config *Config }

// NewCore returns a core with a configuration's rules.
func NewCore(config Config) *Core { return &Core{config: withDefaults(config)} }

// Decide says what follows from a message for a run. record is the run's, nil
// when there is none; it is never changed, and neither may the message be, of
// which the next record holds parts. now is the bus's time.
func (c *Core) Decide(record *Record, message Message, now time.Time) Decision {
	st := newStep(c, record, message, now)
	if st == nil {
		return Decision{}
	}
	var rejected *RejectedError
	switch m := message.(type) {
	case Report:
		st.report(m)
		st.d.tell(st.r, st.config.MaxSeeds, st.now)
	case Command:
		rejected = st.command(m.Command)
	case Ready:
		st.ready(m)
	case Refusal:
		st.refusal(m.Refusal)
	case Emergency:
		st.emergencySignal(m)
	case Tick:
		st.tick()
	}
	if rejected != nil {
		return st.rejected(record, rejected)
	}
	return st.finish(record)
}

// Reject is the decision for a command that Verify refused: what is told of it.
func (c *Core) Reject(rejected *RejectedError, now time.Time) Decision {
	st := &step{core: c, config: c.config, r: &Record{}, at: now, now: momentOf(now)}
	return st.rejected(nil, rejected)
}

// step is one decision in the making.
type step struct {
	core   *Core
	config *Config
	at     time.Time
	now    millis

	r       *Record // what the record becomes
	fresh   bool    // there was no record
	changed bool
	quiet   bool   // the command changes nothing and is acknowledged
	first   uint64 // the last order before this decision

	d          Decision
	seedEvents map[string]*eventList // by seed
	entries    map[string]*entry     // of the report at hand
	global     eventList
	index      string // step_index of the packets
	leaks      int    // violations seen in this decision
	warmMS     *float64
	backMS     *float64 // how long a rollback took
}

// newStep begins a decision, or returns nil when the message is for no run or
// for another.
func newStep(c *Core, record *Record, message Message, now time.Time) *step {
	st := &step{core: c, config: c.config, at: now, now: momentOf(now)}
	if record != nil {
		st.r, st.first = record.clone(), record.LastOrder
		if run := runOf(message); run != "" && run != record.Run {
			return nil
		}
		st.changed = st.r.Trainer.follow(st.now)
		return st
	}
	run := runOf(message)
	switch message.(type) {
	case Report:
		if strings.TrimSpace(run) == "" || len(run) > maxIDLength {
			return nil
		}
	case Command: // what it lacks is its reason
	case Ready, Refusal:
		st.d.Stats.Unknown = 1
	}
	st.r, st.fresh = &Record{Version: recordVersion, Run: run, Packets: now.UnixMicro()}, true
	return st
}

// follow takes a trainer that was last heard in the future for one that is heard now: the
// bus's clock was set back, and its place must end no later for that. It returns whether
// that was so.
func (t *trainerState) follow(now millis) bool {
	ahead := t.Stored > now.plus(clockSkew)
	if ahead {
		t.Stored = now
	}
	return ahead
}

// runOf is the run that a message names, empty when it names none.
func runOf(message Message) string {
	switch m := message.(type) {
	case Report:
		return m.Packet.GetTrainingRunId()
	case Command:
		return RunOfCommand(m.Command)
	case Ready:
		run, _ := RunOfRequest(m.Ready.GetRequestId())
		return run
	case Refusal:
		run, _ := RunOfRequest(m.Refusal.GetRequestId())
		return run
	case Emergency:
		return m.Run
	default:
		return ""
	}
}

// finish puts the decision together.
func (st *step) finish(before *Record) Decision {
	if !st.changed {
		st.d.Due = st.due(before)
		return st.d
	}
	st.holdBack()
	st.flush()
	st.d.Record, st.d.Due = st.r, st.due(st.r)
	return st.d
}

// rejected is the decision for a refused command: the record stays as it is.
func (st *step) rejected(before *Record, rejected *RejectedError) Decision {
	description := rejected.event
	if description == "" {
		description = "command_rejected"
	}
	st.global.add(description, rejected.level, "reason", rejected.Reason, "command_id", bounded(rejected.CommandID),
		"seed_id", bounded(rejected.SeedID), "detail", bounded(rejected.Detail))
	if before != nil {
		st.r = before
	}
	stats := st.d.Stats
	stats.Reason = rejected.Reason
	packet := st.globalPacket("kasmina-global-" + bounded(rejected.CommandID) + "-" + rejected.Reason)
	return Decision{
		Rejected: rejected, Due: st.due(before), Stats: stats,
		Packets: []*leyline.TelemetryPacket{packet},
	}
}

// due is a record's earliest deadline.
func (st *step) due(r *Record) time.Time {
	if r == nil {
		return time.Time{}
	}
	var earliest millis
	consider := func(m millis) {
		if m != 0 && (earliest == 0 || m < earliest) {
			earliest = m
		}
	}
	for _, s := range r.Seeds {
		if s.Wait != nil {
			consider(s.Wait.Deadline)
		}
		if s.Stage == lifecycle.Embargoed && !r.unheard(s) {
			consider(s.Embargo.Until)
		}
	}
	if r.Trainer.ID != "" && !r.Trainer.Silent {
		consider(r.Trainer.Stored.plus(st.config.unheard(&r.Trainer)))
	}
	return earliest.time()
}

// silence is how long a trainer may be silent before another takes its run over.
func (c *Config) silence(t *trainerState) time.Duration {
	return max(c.Takeover, 3*t.interval())
}

// unheard is how long nothing may be heard of a trainer until it counts as silent. That is
// told, and takes nothing from anybody: it can wait for a report that tells how often there is one.
func (c *Config) unheard(t *trainerState) time.Duration {
	if t.Interval == 0 {
		return secondReport * c.Takeover
	}
	return c.silence(t)
}

// interval is the smoothed time between two reports, 0 before the second.
func (t *trainerState) interval() time.Duration { return time.Duration(t.Interval) * time.Millisecond }

const (
	// patientReports is within how many reports what was asked of a trainer must show: one may
	// be lost, and the loop may take its orders late.
	patientReports = 5
	leastPatience  = time.Minute
	mostPatience   = 6 * time.Hour
)

// patience is how long a command of the run, and the order that comes of it, may take to
// show. Nothing but the next report tells that an order was obeyed, so it is never less than
// a few of them take.
func (r *Record) patience() time.Duration {
	if r == nil {
		return freshnessWindow
	}
	return min(max(leastPatience, patientReports*min(r.Trainer.interval(), mostPatience)), mostPatience)
}

// bounded cuts a text from outside to what telemetry should carry.
func bounded(text string) string {
	if len(text) > maxIDLength {
		return strings.ToValidUTF8(text[:maxIDLength], "")
	}
	return text
}

// tick looks at every deadline.
func (st *step) tick() {
	if st.fresh {
		return
	}
	for _, s := range slices.Clone(st.r.Seeds) {
		if s.Wait != nil && st.now >= s.Wait.Deadline {
			st.timeOut(s)
		}
	}
	st.releaseDue()
	st.noteSilence()
}

// noteSilence tells once of a trainer that reports no more. Its seeds are kept.
func (st *step) noteSilence() {
	t := &st.r.Trainer
	if t.ID == "" || t.Silent || st.now < t.Stored.plus(st.config.unheard(t)) {
		return
	}
	t.Silent = true
	st.event("run_silent", levelWarning, "training_run_id", st.r.Run, "trainer_id", t.ID,
		"since", t.Stored.time().Format("2006-01-02T15:04:05Z07:00"), "seeds", number(len(st.r.Seeds)))
}
