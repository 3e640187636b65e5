package transcript

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
)

// format is the form that transcripts are written in.
const format = 1

// Transcript is one decision: what the controller was handed, and what came of it.
type Transcript struct {
	Format int     `json:"format"`
	Now    int64   `json:"now_ns"`
	Record []byte  `json:"-"` // of the run before, as JSON; null: nothing was known
	Packet []byte  `json:"-"`
	Report *report `json:"report,omitempty"` // nil: the trainer only reports

	Settings settings          `json:"settings"`
	Rules    map[string]string `json:"rules,omitempty"`

	Lists      bool          `json:"lists"`           // somebody lists blueprints
	Knows      bool          `json:"knows"`           // somebody knows blueprints of seeds
	Slots      []slotAnswer  `json:"slots,omitempty"` // in the order in which they were asked for
	Blueprints []blueprint   `json:"blueprints,omitempty"`
	Policies   [2]*consulted `json:"policies"` // the one that decides, and the one in the shadow

	Outcome outcome `json:"outcome"`
}

// outcome is what came of a decision. What a reader has to see is there in full.
type outcome struct {
	Commands  [][]byte `json:"commands,omitempty"`
	Reports   [][]byte `json:"reports,omitempty"`
	Telemetry string   `json:"telemetry_sha256"`
	Record    string   `json:"record_sha256"`
}

type report struct {
	TrainerID  string                   `json:"trainer_id"`
	Number     uint64                   `json:"number"`
	HostLayers []string                 `json:"host_layers"`
	Slots      map[string][]int         `json:"slots"`
	Grafts     map[string]trainer.Graft `json:"grafts"`
	Patience   time.Duration            `json:"patience_ns,omitempty"`
	Closed     string                   `json:"closed,omitempty"`
	Gone       map[string]string        `json:"gone,omitempty"` // of the seeds that were asked for
	Held       []string                 `json:"held,omitempty"`
	Dead       []string                 `json:"dead,omitempty"` // to Kasmina, of the seeds that were asked for
}

// settings are those of the controller.
type settings struct {
	Patience          uint32        `json:"patience"`
	MinDelta          number        `json:"min_delta"`
	MinAccuracyGain   number        `json:"min_accuracy_gain"`
	MinLossGain       number        `json:"min_loss_gain"`
	ProbationEpochs   uint32        `json:"probation_epochs"`
	MaxAgeEpochs      uint32        `json:"max_age_epochs"`
	EffectTime        time.Duration `json:"effect_time_ns"`
	Embargo           time.Duration `json:"embargo_ns"`
	MaxGrowing        int           `json:"max_growing"`
	HoldDownEpochs    uint32        `json:"hold_down_epochs"`
	Conservative      bool          `json:"conservative,omitempty"`
	ObservationWindow uint32        `json:"observation_window,omitempty"`
	MaxSeeds          int           `json:"max_seeds"`
}

func settingsOf(c *tamiyo.Config) settings {
	return settings{
		Patience: c.Patience, MinDelta: number(c.MinDelta), MinAccuracyGain: number(c.MinAccuracyGain),
		MinLossGain: number(c.MinLossGain), ProbationEpochs: c.ProbationEpochs, MaxAgeEpochs: c.MaxAgeEpochs,
		EffectTime: c.EffectTime, Embargo: c.Embargo, MaxGrowing: c.MaxGrowing, HoldDownEpochs: c.HoldDownEpochs,
		Conservative: c.Conservative, ObservationWindow: c.ObservationWindow, MaxSeeds: c.MaxSeeds,
	}
}

func (s *settings) config() tamiyo.Config {
	return tamiyo.Config{
		Patience: s.Patience, MinDelta: float64(s.MinDelta), MinAccuracyGain: float64(s.MinAccuracyGain),
		MinLossGain: float64(s.MinLossGain), ProbationEpochs: s.ProbationEpochs, MaxAgeEpochs: s.MaxAgeEpochs,
		EffectTime: s.EffectTime, Embargo: s.Embargo, MaxGrowing: s.MaxGrowing, HoldDownEpochs: s.HoldDownEpochs,
		Conservative: s.Conservative, ObservationWindow: s.ObservationWindow, MaxSeeds: s.MaxSeeds,
	}
}

// Recording is a decision with what it was made from. It is written down only when it
// stands.
type Recording struct {
	transcript Transcript
	record     *tamiyo.Record
	state      tamiyo.State
	gone       map[string]string
	dead       []string
	decision   tamiyo.Decision
}

// Decide has a controller decide, and listens to what it asks for.
func Decide(
	c *tamiyo.Controller, record *tamiyo.Record, state tamiyo.State, now time.Time,
	candidates func(slot []int) ([]tamiyo.Candidate, error),
) (tamiyo.Decision, *Recording) {
	config := c.Config()
	r := &Recording{record: record, state: state}
	t := &r.transcript
	t.Format, t.Now, t.Settings = format, now.UnixNano(), settingsOf(&config)
	t.Lists, t.Knows = candidates != nil, state.Blueprint != nil
	rules, policies := config.Rules, config.Policies
	config.Rules = func(run string) map[string]string {
		t.Rules = rules(run)
		return t.Rules
	}
	config.Policies = func() (tamiyo.Policy, tamiyo.Policy) {
		active, shadow := policies()
		return t.listen(0, active), t.listen(1, shadow)
	}
	if candidates != nil {
		ask := candidates
		candidates = func(slot []int) ([]tamiyo.Candidate, error) {
			answer, err := ask(slot)
			t.Slots = append(t.Slots, slotAnswer{Slot: slot, Candidates: candidatesOf(answer), Failure: failureOf(err)})
			return answer, err
		}
	}
	if ask := state.Blueprint; ask != nil {
		state.Blueprint = func(id string) (tamiyo.Candidate, bool, error) {
			answer, known, err := ask(id)
			told := blueprint{ID: text(id), Known: known, Candidate: candidateOf(&answer), Failure: failureOf(err)}
			t.Blueprints = append(t.Blueprints, told)
			return answer, known, err
		}
	}
	if ask := state.Gone; ask != nil {
		r.gone = map[string]string{}
		state.Gone = func(id string) string {
			reason := ask(id)
			r.gone[id] = reason
			return reason
		}
	}
	if ask := state.Lives; ask != nil {
		state.Lives = func(id string) bool {
			lives := ask(id)
			if !lives {
				r.dead = append(r.dead, id)
			}
			return lives
		}
	}
	// The controller lives by the clock of its transcript, which has nanoseconds.
	r.decision = tamiyo.NewController(config).Decide(record, state, time.Unix(0, t.Now), candidates)
	return r.decision, r
}

// Transcript is what was recorded.
func (r *Recording) Transcript() (*Transcript, error) { return r.written(new([]byte)) }

// written is the transcript; the room is for what is only counted.
func (r *Recording) written(room *[]byte) (*Transcript, error) {
	t := &r.transcript
	var err error
	if t.Record, err = json.Marshal(r.record); err != nil {
		return nil, fmt.Errorf("write record down: %w", err)
	}
	if t.Packet == nil {
		if t.Packet, err = deterministic(r.state.Packet); err != nil {
			return nil, err
		}
	}
	if s := r.state; s.Grows {
		t.Report = &report{
			TrainerID: s.TrainerID, Number: s.Number, HostLayers: s.HostLayers, Slots: s.Slots, Grafts: s.Grafts, Closed: s.Closed,
			Gone: r.gone, Held: s.Held, Dead: r.dead, Patience: s.Patience,
		}
	}
	t.Outcome, err = outcomeOf(r.decision, room)
	return t, err
}

func outcomeOf(d tamiyo.Decision, room *[]byte) (o outcome, err error) {
	record, err := json.Marshal(d.Record)
	if err != nil {
		return outcome{}, fmt.Errorf("write record down: %w", err)
	}
	var failures []error
	write := func(m proto.Message) []byte {
		text, err := deterministic(m)
		failures = append(failures, err)
		return text
	}
	for _, command := range d.Commands {
		o.Commands = append(o.Commands, write(command))
	}
	for _, report := range d.Reports {
		o.Reports = append(o.Reports, write(report))
	}
	told := sha256.New()
	for _, packet := range d.Packets {
		*room, err = proto.MarshalOptions{Deterministic: true}.MarshalAppend((*room)[:0], packet)
		_, _ = told.Write(*room) // never fails
		failures = append(failures, err)
	}
	o.Telemetry, o.Record = hex.EncodeToString(told.Sum(nil)), digest(record)
	return o, errors.Join(failures...)
}

func deterministic(m proto.Message) ([]byte, error) {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write %T down: %w", m, err)
	}
	return text, nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// state is what the controller was handed, but for what it asks for.
func (t *Transcript) state() (tamiyo.State, error) {
	packet := new(leyline.SystemStatePacket)
	if err := proto.Unmarshal(t.Packet, packet); err != nil {
		return tamiyo.State{}, fmt.Errorf("state packet: %w", err)
	}
	state := tamiyo.State{Packet: packet}
	if r := t.Report; r != nil {
		state.Grows, state.TrainerID, state.Number = true, r.TrainerID, r.Number
		state.HostLayers, state.Slots, state.Grafts = r.HostLayers, r.Slots, r.Grafts
		state.Closed, state.Held = r.Closed, r.Held
		state.Gone = func(id string) string { return r.Gone[id] }
		state.Lives = func(id string) bool { return !slices.Contains(r.Dead, id) }
		state.Patience = r.Patience
	}
	return state, nil
}

// known is the record of the run before, nil when there was none.
func (t *Transcript) known() (*tamiyo.Record, error) {
	if len(t.Record) == 0 || string(t.Record) == "null" {
		return nil, nil //nolint:nilnil // nothing is known of the run, as the controller has it
	}
	return tamiyo.DecodeRecord(t.Record)
}
