package kasmina

import (
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// View is a record as a person reads it.
type View struct {
	Run        string      `json:"run"`
	Watched    bool        `json:"watched,omitempty"` // its trainer only reports
	Trainer    TrainerView `json:"trainer,omitzero"`
	LastOrder  uint64      `json:"last_order"`
	Seeds      []SeedView  `json:"seeds"`
	Pending    []OrderView `json:"pending_orders,omitempty"`
	Ended      []EndedView `json:"ended_seeds,omitempty"` // the last 8, oldest first
	Breaker    string      `json:"kernel_breaker"`
	OpenUntil  *time.Time  `json:"kernel_breaker_until,omitempty"`
	Emergency  string      `json:"emergency,omitempty"`
	Because    string      `json:"emergency_reason,omitempty"`
	WrittenOff []string    `json:"written_off,omitempty"` // blueprints whose kernels were at fault
	Refused    []PeerView  `json:"refused_trainers,omitempty"`
	Violations int         `json:"isolation_violations"`
}

// EndedView is a seed that is gone.
type EndedView struct {
	ID        string    `json:"id"`
	Blueprint string    `json:"blueprint"`
	Slot      string    `json:"slot,omitempty"`
	Stage     string    `json:"stage"` // that it came to
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
}

// PeerView is a trainer that reported for a run which another one leads.
type PeerView struct {
	ID string    `json:"id"`
	At time.Time `json:"at"` // when it was last told of
}

// TrainerView is the trainer that leads a run.
type TrainerView struct {
	ID         string           `json:"id"`
	Report     uint64           `json:"report"`
	ReportedAt time.Time        `json:"reported_at"`
	Epoch      uint32           `json:"epoch"`
	Step       uint64           `json:"step"`
	HostLayers []string         `json:"host_layers,omitempty"`
	Slots      map[string][]int `json:"slots,omitempty"`
	Accepts    []string         `json:"accepts,omitempty"`
	Access     []string         `json:"kernel_access,omitempty"`
	Halted     bool             `json:"halted,omitempty"`
	Silent     bool             `json:"silent,omitempty"`
}

// SeedView is one seed of a run.
type SeedView struct {
	ID           string             `json:"id"`
	Blueprint    string             `json:"blueprint"`
	Slot         string             `json:"slot"`
	Stage        string             `json:"stage"`
	Ordered      string             `json:"ordered,omitempty"` // the stage that it is on its way to
	Order        uint64             `json:"order,omitempty"`
	Checksum     string             `json:"checksum,omitempty"`
	Waiting      bool               `json:"waits_for_kernel,omitempty"`
	Alpha        float64            `json:"alpha"`
	AlphaSteps   int                `json:"alpha_steps"`
	Blend        trainer.Blend      `json:"blend,omitzero"`
	Schedule     trainer.Schedule   `json:"schedule,omitzero"`
	Parameters   map[string]float32 `json:"parameters,omitempty"`
	Paused       []string           `json:"paused,omitempty"` // why
	Age          uint32             `json:"age_reports"`
	Residence    int                `json:"residence_reports"`
	Earned       bool               `json:"earned,omitempty"`
	Violations   int                `json:"isolation_violations,omitempty"`
	Measured     map[string]float64 `json:"measured,omitempty"`
	EmbargoUntil *time.Time         `json:"embargo_until,omitempty"`
	LastGate     string             `json:"last_gate,omitempty"`
	LastFailure  string             `json:"last_failure,omitempty"`
}

// OrderView is an order that has shown no effect yet.
type OrderView struct {
	Number uint64    `json:"number"`
	Kind   string    `json:"kind"`
	Seed   string    `json:"seed,omitempty"`
	Sent   time.Time `json:"sent"`
	Anew   int       `json:"sent_anew,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// NewView makes a record readable; it is nil for no record.
func NewView(r *Record) *View {
	if r == nil {
		return nil
	}
	view := &View{
		Run: r.Run, Watched: r.Watched && r.Trainer.ID == "", LastOrder: r.LastOrder, Seeds: []SeedView{},
		Breaker: r.Breaker.state().String(), WrittenOff: WrittenOff(r), Violations: r.Violations,
	}
	if r.Emergency.Level >= pausingLevel {
		view.Emergency, view.Because = r.Emergency.Level.String(), r.Emergency.Reason
	}
	if r.Breaker.state() == circuitOpen {
		view.OpenUntil = new(r.Breaker.Until.time())
	}
	if t := &r.Trainer; t.ID != "" {
		view.Trainer = TrainerView{
			ID: t.ID, Report: t.Number, ReportedAt: t.Stored.time(), Epoch: t.Epoch, Step: t.Step,
			HostLayers: t.Layers, Slots: t.Slots, Accepts: t.Accepts, Access: t.Access,
			Halted: t.Halted, Silent: t.Silent,
		}
	}
	for _, s := range r.Seeds {
		view.Seeds = append(view.Seeds, s.view())
	}
	for _, gone := range r.Ended[max(0, len(r.Ended)-maxShown):] {
		view.Ended = append(view.Ended, EndedView{
			ID: gone.Seed, Blueprint: gone.Blueprint, Slot: gone.Slot, Stage: gone.Stage.String(),
			Reason: gone.Reason, At: gone.At.time(),
		})
	}
	for _, refused := range r.Refused {
		view.Refused = append(view.Refused, PeerView{ID: refused.ID, At: refused.Told.time()})
	}
	for i := range r.Pending {
		p := &r.Pending[i]
		view.Pending = append(view.Pending, OrderView{
			Number: p.Number, Kind: string(p.Kind), Seed: p.Seed, Sent: p.Sent.time(), Anew: p.Renewals, Reason: p.Reason,
		})
	}
	return view
}

func (s *seed) view() SeedView {
	view := SeedView{
		ID: s.ID, Blueprint: s.Blueprint, Slot: s.Slot, Stage: s.Stage.String(), Order: s.Order,
		Checksum: s.Kernel.Checksum, Waiting: s.Wait != nil, Alpha: s.share(), AlphaSteps: s.AlphaSteps,
		Blend: s.Blend, Schedule: s.Schedule, Parameters: s.Parameters, Paused: s.Paused.names(), Age: s.Age,
		Residence: s.Progress.Residence, Earned: s.Earned, Violations: s.Isolation.Failures,
		LastFailure: s.Gate.Reason,
	}
	if s.Target != lifecycle.Unknown {
		view.Ordered = s.Target.String()
	}
	if s.Stage == lifecycle.Embargoed {
		until := s.Embargo.Until.time()
		view.EmbargoUntil = &until
	}
	if s.Gate.Gate != leyline.SeedLifecycleGate_SEED_GATE_UNKNOWN {
		view.LastGate = s.Gate.Gate.String()
	}
	last := *s.Progress.Latest()
	for _, f := range last.Fields() {
		if f.At.Finite() {
			if view.Measured == nil {
				view.Measured = make(map[string]float64)
			}
			view.Measured[f.Name] = float64(*f.At)
		}
	}
	return view
}

func (c pauseCause) names() []string {
	var names []string
	for _, cause := range []struct {
		bit  pauseCause
		name string
	}{
		{pausedByEither | pausedByOperator, "command"}, {pausedByIsolation, "isolation"}, {pausedByEmergency, "emergency"},
		{pausedByController, "controller"},
	} {
		if c&cause.bit != 0 {
			names = append(names, cause.name)
		}
	}
	return names
}

// States are a run's seeds in the order of germination. The caller owns the
// result.
func States(r *Record) []*leyline.SeedState {
	if r == nil {
		return nil
	}
	states := make([]*leyline.SeedState, 0, len(r.Seeds))
	for _, s := range r.Seeds {
		states = append(states, s.state())
	}
	return states
}

func (s *seed) state() *leyline.SeedState {
	metrics := map[string]float32{
		"alpha":             float32(s.share()),
		"alpha_steps":       float32(s.AlphaSteps),
		"alpha_total_steps": float32(s.Schedule.Steps),
		"alpha_temperature": float32(s.Schedule.Temperature),
		"blend_allowed":     flag(lifecycle.Blends(s.Stage)),
		"residence_epochs":  float32(s.Progress.Residence),
		"earned":            flag(s.Earned),
		"paused":            flag(s.Paused != 0),
	}
	last := *s.Progress.Latest()
	for _, f := range last.Fields() {
		if f.At.Known() {
			metrics[f.Name] = float32(f.At.Value())
		}
	}
	return &leyline.SeedState{
		SeedId: s.ID, Stage: s.Stage, AgeEpochs: s.Age, Metrics: metrics,
		GradientNorm: metrics["gradient_norm"],
	}
}

// BlendingSeeds are the seeds in BLENDING by blueprint, each list in the order
// of germination. The caller owns the result.
func BlendingSeeds(r *Record) map[string][]string {
	blending := make(map[string][]string)
	if r == nil {
		return blending
	}
	for _, s := range r.Seeds {
		if s.Stage == lifecycle.Blending {
			blending[s.Blueprint] = append(blending[s.Blueprint], s.ID)
		}
	}
	return blending
}
