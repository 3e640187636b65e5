package runs

import "time"

// Run is what is known of a training run.
type Run struct {
	ID         string    `json:"id"`
	Experiment string    `json:"experiment,omitempty"`
	Source     string    `json:"source,omitempty"` // the subsystem that reports
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"` // when it was last heard of
	// KeptFrom is the time before which its reports and events made room; that of the first
	// when none did.
	KeptFrom time.Time `json:"kept_from"`
	Progress
	Leader
	Emergency

	LastOrder string `json:"last_order,omitempty"` // its entry on the run's stream

	Seeds map[string]int   `json:"seeds,omitempty"` // by stage
	Slots map[string][]int `json:"slots,omitempty"` // shape of one example, by the slot's name
	Spark Spark            `json:"spark"`
	Bytes int64            `json:"bytes"` // about what is stored of it
}

// Progress is what the trainers of a run reported last.
type Progress struct {
	Reported time.Time `json:"reported_at,omitzero"` // when the last came
	Reports  int64     `json:"reports"`              // all of them
	Epoch    uint32    `json:"epoch"`
	Step     uint64    `json:"step"`
	Loss     Number    `json:"loss"`
	Accuracy Number    `json:"accuracy"`
	Best     Number    `json:"best_loss"`
	Halted   bool      `json:"halted"`
}

// Emergency is what Kasmina holds a run in, by the newest of its packets about it.
type Emergency struct {
	Held    string    `json:"emergency,omitempty"` // conservative or halt: its seeds are out of the output, and none is begun
	HeldFor string    `json:"emergency_reason,omitempty"`
	HeldAt  time.Time `json:"emergency_told_at,omitzero"` // when that was told of last
}

// Seed is what is known of a seed of a run.
type Seed struct {
	Run       string    `json:"run"`
	ID        string    `json:"id"`
	Blueprint string    `json:"blueprint,omitempty"`
	Slot      string    `json:"slot,omitempty"`
	Kernel    string    `json:"kernel,omitempty"` // its SHA-256
	Stage     string    `json:"stage,omitempty"`
	StageAt   time.Time `json:"stage_at,omitzero"`      // since when
	StageTold time.Time `json:"stage_told_at,omitzero"` // when that was told of last
	Alpha     Number    `json:"alpha"`
	Paused    bool      `json:"paused"`
	FirstAt   time.Time `json:"first_at"`
	LastAt    time.Time `json:"last_at"`
	Reason    string    `json:"reason,omitempty"`  // why it ended
	Outcome   string    `json:"outcome,omitempty"` // of its field report
	// Kasmina told of it: then only it says which stage the seed is in. A trainer's report
	// says what was applied, and may be under way while the seed is culled.
	Kasmina bool `json:"kasmina"`
}

// Report is one report of a trainer.
type Report struct {
	Seq       int64     `json:"seq,omitempty"` // place in all that the store was told
	Run       string    `json:"run"`
	At        time.Time `json:"at"`
	Trainer   string    `json:"trainer,omitempty"`
	Number    uint64    `json:"number,omitempty"` // counts up for each trainer
	Epoch     uint32    `json:"epoch"`
	Step      uint64    `json:"step"`
	Loss      Number    `json:"loss"` // of the whole model, on held-out data
	Accuracy  Number    `json:"accuracy"`
	TrainLoss Number    `json:"train_loss"`
	// Without the seed, as the first seed that was measured has it, and that of a model
	// which was trained without growing, when the trainer tells.
	HostLoss         Number            `json:"host_loss"`
	HostAccuracy     Number            `json:"host_accuracy"`
	BaselineLoss     Number            `json:"baseline_loss"`
	BaselineAccuracy Number            `json:"baseline_accuracy"`
	Metrics          map[string]Number `json:"metrics,omitempty"`
}

// Point is one seed as one report has it.
type Point struct {
	Run     string            `json:"run"`
	Seed    string            `json:"seed"`
	At      time.Time         `json:"at"`
	Epoch   uint32            `json:"epoch"`
	Step    uint64            `json:"step"`
	Stage   string            `json:"stage"`
	Alpha   Number            `json:"alpha"`
	Metrics map[string]Number `json:"metrics,omitempty"`
}

// Decision is one of the controller on a run: what it was handed and what came of it, as the
// controller wrote that down.
type Decision struct {
	Run        string    `json:"run"`
	At         time.Time `json:"at"`
	Transcript string    `json:"transcript"`
}

// Kind is what an event is.
type Kind string

// Kinds of events.
const (
	KindEvent       Kind = "event"        // of a telemetry packet
	KindStage       Kind = "stage"        // a seed is in another stage
	KindGate        Kind = "gate"         // a gate was looked at
	KindCommand     Kind = "command"      // somebody commanded
	KindOrder       Kind = "order"        // Kasmina ordered a trainer
	KindFieldReport Kind = "field_report" // what became of a seed
	KindEmergency   Kind = "emergency"    // an emergency signal
	KindAlarm       Kind = "alarm"        // an alarm was raised
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{KindEvent, KindStage, KindGate, KindCommand, KindOrder, KindFieldReport, KindEmergency, KindAlarm}
}

// Event is one entry of the feed. Its name is, by its kind, that of the event, the stage,
// the gate, the operation, the kind of the order, the outcome, the level or the alarm.
type Event struct {
	Seq     int64             `json:"seq,omitempty"`
	Run     string            `json:"run,omitempty"`
	Seed    string            `json:"seed,omitempty"`
	At      time.Time         `json:"at"`
	Kind    Kind              `json:"kind"`
	Name    string            `json:"name"`
	Source  string            `json:"source,omitempty"`
	Level   string            `json:"level"`
	Details map[string]string `json:"details,omitempty"`
}

// Alarm is one that a service reports as raised.
type Alarm struct {
	Name     string    `json:"name"`
	Subject  string    `json:"subject,omitempty"`
	Severity string    `json:"severity,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	LastAt   time.Time `json:"last_at"`
	Detail   string    `json:"detail,omitempty"`
}

// Raised reports whether an alarm is told of at that time. Nobody tells that one is over:
// a service repeats those that last.
func (a Alarm) Raised(now time.Time) bool { return now.Sub(a.LastAt) < alarmLife }

// alarmLife is far more than the pause between two summaries.
const alarmLife = 90 * time.Second

// Source is who sends telemetry: a subsystem, or subsystem/instance where its packets name the instance.
type Source struct {
	Name    string    `json:"name"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	Packets int64     `json:"packets"`
	Shown
}

// Shown is what a source's newest packet that was about no run says.
type Shown struct {
	FiguresAt  time.Time         `json:"figures_at,omitzero"` // when
	Health     string            `json:"health,omitempty"`
	Summary    string            `json:"summary,omitempty"`
	Indicators map[string]string `json:"indicators,omitempty"`
	Figures    []Figure          `json:"figures,omitempty"`
}

// Figure is a point of a source's last packet.
type Figure struct {
	Name   string            `json:"name"`
	Value  Number            `json:"value"`
	Unit   string            `json:"unit,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

// States of a run.
const (
	Running      = "running"
	Conservative = "conservative"
	Silent       = "silent"
	Halted       = "halted"
)

// Silence is how long a run that reports seldom may be silent, in intervals, and any.
const (
	silentIntervals = 3
	silentLeast     = time.Minute
	// silentUnknown is how long the second report may take, before which nobody knows how often there
	// is one: as long as Kasmina waits for it when nothing else is set.
	silentUnknown = 15 * time.Minute
)

// State is that of a run at a time: halted, silent for longer than three of its reports
// take, conservative when it trains on in an emergency, or running.
func (r *Run) State(now time.Time) string {
	if r.Halted {
		return Halted
	}
	silence := r.silence()
	if r.Interval == 0 {
		silence = silentUnknown
	}
	if now.Sub(r.Reported) > silence {
		return Silent
	}
	if r.Held != "" {
		return Conservative
	}
	return Running
}
