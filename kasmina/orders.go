package kasmina

import (
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	// resendGrace is how much younger than an order a report may be and still not
	// know of it.
	resendGrace = 100 * time.Millisecond
	// unheededReports is how many reports may read an order without effect.
	unheededReports = 2
	// maxRenewals is how often an order is sent anew before its seed is given up.
	maxRenewals = 5
	// maxDropsAtOnce bounds the orders for seeds that nobody knows.
	maxDropsAtOnce = 32
)

// pending is an order that has shown no effect yet. What it says under one
// number never changes.
type pending struct {
	Number    uint64                     `json:"n"`
	First     uint64                     `json:"f"` // the number under which it was first sent
	Kind      trainer.Kind               `json:"k"`
	Seed      string                     `json:"s,omitempty"`
	Blueprint string                     `json:"b,omitempty"` // of a seed that may be forgotten before the order is
	Slot      string                     `json:"z,omitempty"`
	Stage     leyline.SeedLifecycleStage `json:"t,omitempty"`
	Reason    string                     `json:"r,omitempty"`
	Policy    string                     `json:"p,omitempty"`

	Deadline int64  `json:"d,omitempty"` // milliseconds, as sent
	Until    millis `json:"u,omitempty"` // when that is over
	Asked    millis `json:"a,omitempty"` // when it was first asked for
	Sent     millis `json:"m"`
	Unheeded int    `json:"h,omitempty"` // reports that have read it without effect
	Renewals int    `json:"w,omitempty"` // how often it was sent under a new number

	Level      leyline.EmergencyLevel `json:"l,omitempty"`
	Optimizer  string                 `json:"o,omitempty"`
	Parameters map[string]float32     `json:"v,omitempty"` // of the optimizer
}

// outlasts says whether the deadline of an order is after another's.
func outlasts(p, other *pending) bool {
	return other.Until != 0 && (p.Until == 0 || p.Until > other.Until)
}

// class groups the orders of which a later one takes the place of an earlier.
type class int

const (
	classStage class = iota
	classPause
	classEnd
	classOptimizer
	classEmergency
)

func classOf(kind trainer.Kind) class {
	switch kind {
	case trainer.Pause, trainer.Resume:
		return classPause
	case trainer.Drop, trainer.Rollback:
		return classEnd
	case trainer.Optimizer:
		return classOptimizer
	case trainer.Emergency:
		return classEmergency
	default:
		return classStage
	}
}

// ask issues an order. It takes the place of what was asked for in its class.
func (st *step) ask(p pending) uint64 {
	r := st.r
	if r.Trainer.ID == "" || r.LastOrder >= maxOrder || len(r.Pending) >= maxPending {
		return 0
	}
	st.forgetOrders(p.Seed, classOf(p.Kind))
	p.Number = st.nextOrder()
	p.First = p.Number
	p.Asked, p.Sent = st.now, st.now
	r.Pending = append(r.Pending, p)
	st.send(&p)
	return p.Number
}

// askStage orders a seed to a stage.
func (st *step) askStage(s *seed, to leyline.SeedLifecycleStage, p pending) {
	p.Kind, p.Seed, p.Stage = kindTo(to), s.ID, to
	if p.Policy == "" {
		p.Policy = s.Policy
	}
	if number := st.ask(p); number != 0 {
		s.Order, s.Target = number, to
	}
	if to == lifecycle.Blending {
		st.r.Tuned = false
		st.r.Pending = without(st.r.Pending, func(p pending) bool { return p.Kind == trainer.Tune })
	}
}

// askSeed orders something of a seed that does not move it.
func (st *step) askSeed(s *seed, kind trainer.Kind, p pending) {
	p.Kind, p.Seed, p.Stage = kind, s.ID, s.Stage
	if p.Policy == "" {
		p.Policy = s.Policy
	}
	if number := st.ask(p); number != 0 {
		s.Order = number
	}
}

// askEnd orders a seed out of the model, whether it is known or not.
func (st *step) askEnd(kind trainer.Kind, p pending) {
	p.Kind = kind
	if p.Stage == lifecycle.Unknown {
		p.Stage = lifecycle.Culled
	}
	st.ask(p)
}

// pendingOf finds the order of a class that waits for its effect.
func (st *step) pendingOf(seedID string, c class) *pending {
	for i := range st.r.Pending {
		if p := &st.r.Pending[i]; p.Seed == seedID && classOf(p.Kind) == c {
			return p
		}
	}
	return nil
}

func (st *step) forgetOrders(seedID string, classes ...class) {
	before := len(st.r.Pending)
	st.r.Pending = without(st.r.Pending, func(p pending) bool {
		return p.Seed == seedID && slices.Contains(classes, classOf(p.Kind))
	})
	st.changed = st.changed || len(st.r.Pending) != before
}

// render is an order as its trainer gets it.
func (st *step) render(p *pending) trainer.Order {
	order := trainer.Order{
		Kind: p.Kind, Run: st.r.Run, TrainerID: st.r.Trainer.ID, Number: p.Number,
		Seed: p.Seed, Blueprint: p.Blueprint, Slot: p.Slot, Stage: p.Stage,
		Reason: p.Reason, PolicyVersion: p.Policy, Deadline: time.Duration(p.Deadline) * time.Millisecond,
		Level: p.Level, Optimizer: p.Optimizer, Parameters: p.Parameters,
	}
	s := st.r.find(p.Seed)
	if s == nil || classOf(p.Kind) == classEnd {
		return order
	}
	order.Blueprint, order.Slot = s.Blueprint, s.Slot
	if p.Kind == trainer.Attach {
		order.Kernel = trainer.Kernel{
			Ref: s.Kernel.Ref, URL: st.artifactURL(s.Kernel.Checksum),
			Checksum: s.Kernel.Checksum, GuardDigest: s.Kernel.Guard,
		}
		order.Blend, order.Schedule, order.Parameters = s.Blend, s.Schedule, s.Parameters
	}
	return order
}

func (st *step) artifactURL(checksum string) string {
	if st.config.ArtifactURL == "" {
		return ""
	}
	return st.config.ArtifactURL + "/kernels/" + checksum
}

// settleOrders looks for the effect of what was ordered before this report, and
// sends again what shows none. It returns the seeds that orders have no effect on.
func (st *step) settleOrders(rc *reading) (hopeless []string) {
	var kept []pending
	for _, p := range st.r.Pending {
		switch {
		case p.Number > st.first: // of this decision
			kept = append(kept, p)
		case st.applied(&p, rc):
			st.changed = true
			st.noteEnd(&p)
		case p.Until != 0 && rc.stored > p.Until:
			st.expire(&p)
		case !st.repeat(&p, rc):
			hopeless = append(hopeless, p.Seed)
		default:
			kept = append(kept, p)
		}
	}
	st.r.Pending = kept
	return hopeless
}

// repeat sends an order again if it must be; it reports false for one that is
// given up.
func (st *step) repeat(p *pending, rc *reading) bool {
	if rc.adopting { // it was addressed to another
		st.renew(p)
		return true
	}
	if rc.orderRead < p.Number {
		if rc.stored.since(p.Sent) >= resendGrace {
			p.Sent = st.now
			st.d.Stats.Resent++
			st.send(p)
		}
		return true
	}
	p.Unheeded++
	patience := orderPatience << min(p.Renewals, maxRenewals)
	if p.Kind == trainer.Attach {
		patience = attachPatience
	}
	if p.Unheeded < unheededReports || st.now.since(p.Sent) < patience {
		return true
	}
	if p.Renewals >= maxRenewals && givesUp(p.Kind) {
		return false
	}
	st.renew(p)
	return true
}

// givesUp says whether an order that never shows an effect ends its seed. What
// takes a seed out is repeated for good.
func givesUp(kind trainer.Kind) bool {
	switch classOf(kind) {
	case classEnd, classEmergency:
		return false
	default:
		return true
	}
}

// applied says whether a report shows the effect of an order. A stage is
// confirmed by the seed's own look at its entry.
func (st *step) applied(p *pending, rc *reading) bool {
	e, read := rc.entries[p.Seed], rc.orderRead >= p.First || rc.adopting
	s := st.r.find(p.Seed)
	switch p.Kind {
	case trainer.Drop, trainer.Rollback:
		// A younger incarnation is no leftover of the one that was to go.
		return read && (e == nil || e.failed || s != nil && s.attached() && e.order >= s.AttachOrder)
	case trainer.Pause, trainer.Resume:
		return s == nil || e != nil && e.paused == (p.Kind == trainer.Pause)
	case trainer.Train, trainer.Tune:
		return s == nil || e != nil && e.order >= p.First && !rc.adopting
	case trainer.Optimizer:
		return rc.orderRead >= p.First
	case trainer.Emergency:
		return read && st.inEmergency(p.Level, rc)
	default:
		return s == nil || s.Stage >= p.Stage
	}
}

func (st *step) inEmergency(level leyline.EmergencyLevel, rc *reading) bool {
	switch {
	case level >= leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT:
		return rc.halted
	case level >= pausingLevel:
		for _, e := range rc.entries {
			if e.attached() && e.stage != lifecycle.Fossilized && !e.paused {
				return false
			}
		}
		return !rc.halted
	default:
		return !rc.halted
	}
}

// noteEnd measures how long a rollback took.
func (st *step) noteEnd(p *pending) {
	if p.Kind == trainer.Rollback {
		took := milliseconds(st.now.since(p.Asked))
		st.backMS = &took
		st.event("rollback_done", levelInfo, "seed_id", p.Seed, "latency_ms", hundredths(took))
	}
}

// expire gives up an order whose deadline had passed when a report was stored that shows no
// effect. Until there is one, it may have been obeyed in time.
func (st *step) expire(p *pending) {
	st.changed = true
	s := st.r.find(p.Seed)
	if s == nil {
		st.event("order_expired", levelWarning, "order", string(p.Kind))
		return
	}
	if classOf(p.Kind) == classPause {
		s.Paused &^= pausedByCommand
		if s.Out {
			s.Paused |= pausedByController // whose commands have deadlines; an operator resumes it as well
		}
	}
	st.seedEvent(s, "order_expired", levelWarning, "order", string(p.Kind))
}

// abandon ends the seeds that orders have no effect on. A kept one stays: there
// is nothing to take out any more.
func (st *step) abandon(hopeless []string) {
	for _, id := range hopeless {
		s := st.r.find(id)
		switch {
		case s == nil:
		case lifecycle.Cullable(s.Stage):
			st.settleGate(s, gate.Failed(gate.Interface, reasonWithoutEffect))
		default:
			st.seedEvent(s, reasonWithoutEffect, levelWarning)
			s.Paused = 0
		}
	}
}
