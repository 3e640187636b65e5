package tamiyo

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// State is one report of a training run.
type State struct {
	Packet *leyline.SystemStatePacket

	// Grows says that the trainer speaks the trainer protocol. One that does not
	// is watched and never commanded; all fields below are empty then.
	Grows      bool
	TrainerID  string                   // of the process that holds the run
	Number     uint64                   // of the report, counted by that process from 1
	HostLayers []string                 // input side first
	Slots      map[string][]int         // shape of one example, by the slot's name
	Grafts     map[string]trainer.Graft // by seed id; tells of seeds that the record does not know
	Patience   time.Duration            // how long a command may take to show [a minute]

	Held   []string // ids of the seeds that Kasmina keeps out of the output at our command
	Closed string   // why Kasmina would refuse each germination now; empty: it would not

	// Gone is why Kasmina ended a seed, as far as it remembers that. nil knows of none.
	Gone func(id string) string

	// Lives says whether a seed that a trainer has lives for Kasmina, which takes no PAUSE and
	// no FOSSILIZE of another. nil says so of each.
	Lives func(id string) bool

	// Blueprint tells of the blueprint of a seed; known is false for one that nothing is
	// known of. An error means that it cannot be told now, and one that wraps
	// context.DeadlineExceeded that the step ran out of time over it. nil knows none.
	Blueprint func(id string) (blueprint Candidate, known bool, err error)

	// Consult asks a policy, for as long as a step may take [for as long as that takes].
	Consult func(policy Policy, rows [][]float32) ([][]float32, error)

	// Weighed hears of the blueprints that might be begun at a slot, the best first by the
	// controller's own worth, and what a policy is told of each [nobody does].
	Weighed func(slot string, blueprints []string, rows [][]float32)
}

// Decision is what one report leads to.
type Decision struct {
	Record   *Record                      // to be kept in place of the one given; nil: nothing changed
	Commands []*leyline.AdaptationCommand // not signed; their signer is whoever sends them
	Reports  []*leyline.FieldReport
	Packets  []*leyline.TelemetryPacket
	// Repeated says that the report was evaluated before, or that the run has
	// moved on: it changes nothing and asks for nothing.
	Repeated bool
}

// Controller decides on growth. It is a function of what it is given: it keeps
// nothing, knows no time, and is safe for concurrent use.
type Controller struct {
	config Config
}

// NewController returns a controller; the zero Config means the defaults.
func NewController(config Config) *Controller {
	return &Controller{config: config.withDefaults()}
}

// Config is what the controller goes by, defaults included.
func (c *Controller) Config() Config { return c.config }

// Decide evaluates one report. The record is what was decided on the run so
// far, nil when nothing is known of it, and is not changed. The same arguments
// lead to the same decision, ids included. Candidates lists what could be
// germinated at a slot of the given shape; an error means that this is not
// known yet, and one that wraps context.DeadlineExceeded that the step ran out of
// time over it. A report that names no run leads to nothing.
func (c *Controller) Decide(
	record *Record, state State, now time.Time, candidates func(slot []int) ([]Candidate, error),
) Decision {
	if !state.usable() || record != nil && record.Run != state.Packet.GetTrainingRunId() {
		return Decision{}
	}
	place := record.place(state, now)
	if place == placeRepeated {
		return Decision{Repeated: true}
	}
	e := &evaluation{
		config: &c.config, record: record.next(state, place, now), state: state, now: now, candidates: candidates,
	}
	planner{e}.admit(c.config.Policies())
	e.run(record, place)
	return Decision{
		Record: e.record, Commands: e.commands, Reports: e.reports,
		Packets: []*leyline.TelemetryPacket{e.packet()},
	}
}

// run goes by the order of the rules: what happened, what could be done, what is risky,
// what to do.
func (e *evaluation) run(former *Record, place place) {
	e.welcome(former, place)
	e.readLoss()
	if e.state.Grows {
		e.record.HostWork = hostWork(e.record.HostWork, e.state.Packet)
		e.observeSeeds()
		e.survey()
		planner{e}.compareShadow()
	}
	e.assessRisk()
	watcher{e}.observe()
	if e.state.Grows {
		steerer{e}.steerSeeds()
		e.germinatePlanned()
	}
	explain(e.commands, e.reports, e.plan.fired(e.verdict))
}

// usable says whether the state belongs to a run, and to a report of a trainer
// when it claims to.
func (s State) usable() bool {
	run := s.Packet.GetTrainingRunId()
	if strings.TrimSpace(run) == "" || len(run) > maxRun || !utf8.ValidString(run) {
		return false
	}
	if !s.Grows {
		return true
	}
	return isText(s.TrainerID) && s.TrainerID != "" && s.Number > 0 && s.Number <= maxNumber
}
