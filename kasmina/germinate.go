package kasmina

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Annotations by which the controller tells of its own state.
var (
	fallbackAnnotations = []string{
		"tamiyo_fallback_seed", "tamiyo_fallback_blueprint", "tamiyo_conservative_fallback",
	}
	echoedAnnotations = []string{
		"feature_coverage", "risk_reason", "blueprint_risk", "blueprint_tier", "blueprint_stage",
	}
)

// germinate starts a new seed. Everything that can refuse it comes before
// anything is created, so a live seed is never touched by a second germination.
func (st *step) germinate(command *leyline.AdaptationCommand, order *seedOrder) *RejectedError {
	name, rejected := st.slotFor(command, order)
	s := &seed{
		ID: order.seedID, Blueprint: order.blueprintID, Slot: name, Shape: st.r.Trainer.Slots[name],
		Parameters: maps.Clone(order.parameters), Mesh: st.meshOf(order.mesh), Blend: order.blend,
		Schedule: order.schedule, Promotion: order.promotion,
		Policy: bounded(order.annotations[annotationPolicy]),
		Stage:  lifecycle.Dormant, Progress: evidence.NewProgress(), Issued: st.heard(command),
	}
	if known := st.r.find(order.seedID); known != nil {
		return st.refuseExisting(command, known, s)
	}
	sanity := gate.Evaluate(gate.Sanity, st.subject(s))
	if !sanity.Passed {
		level, pairs := gateEvent(sanity)
		st.global.add("gate_event", level, append([]string{"seed_id", s.ID}, pairs...)...)
		return refuse(command, ReasonPreflight, levelError).because(sanity.Reason)
	}
	if rejected != nil {
		return rejected
	}
	if rejected := st.admit(command, order, s); rejected != nil {
		return rejected
	}
	st.r.Seeds = append(st.r.Seeds, s)
	st.noteOperation(s, command, order)
	st.noteController(s, order.annotations)
	st.noteGate(s, sanity)
	st.move(s, lifecycle.Germinated, "")
	st.requestKernel(s)
	return nil
}

// slotFor finds where a seed is to grow: the named slot, or else the first.
func (st *step) slotFor(command *leyline.AdaptationCommand, order *seedOrder) (string, *RejectedError) {
	t := &st.r.Trainer
	if t.ID == "" {
		return "", refuse(command, ReasonNoTrainer, levelInfo)
	}
	if name := order.annotations[trainer.AnnotationSlot]; name != "" {
		if _, ok := t.Slots[name]; !ok {
			return "", refuse(command, ReasonUnknownSlot, levelWarning).because(bounded(name))
		}
		return name, nil
	}
	names := trainer.Report{Slots: t.Slots}.SlotNames()
	if len(names) == 0 {
		return "", refuse(command, ReasonUnknownSlot, levelWarning).because("the trainer has none")
	}
	return names[0], nil
}

// meshOf leaves a list that names all of the host's layers empty, which means
// the same in fewer bytes.
func (st *step) meshOf(mesh []string) []string {
	layers := st.r.Trainer.Layers
	missing := func(layer string) bool { return !slices.Contains(layers, layer) }
	if len(mesh) == len(layers) && !slices.ContainsFunc(mesh, missing) {
		return nil
	}
	return mesh
}

// refuseExisting answers a germination of a seed that exists. The same one again
// is nothing to do.
func (st *step) refuseExisting(command *leyline.AdaptationCommand, known, wanted *seed) *RejectedError {
	if known.Stage == lifecycle.Embargoed {
		return refuse(command, ReasonSeedEmbargoed, levelWarning).
			because("until " + known.Embargo.Until.time().Format(time.RFC3339))
	}
	same := known.Blueprint == wanted.Blueprint && known.Slot == wanted.Slot &&
		maps.Equal(known.Parameters, wanted.Parameters) && slices.Equal(known.Mesh, wanted.Mesh) &&
		sameBlend(known.Blend, wanted.Blend) && known.Schedule == wanted.Schedule &&
		st.rules(known) == st.rules(wanted)
	if same {
		return nil
	}
	return refuse(command, ReasonSeedLive, levelWarning).because(known.Stage.String())
}

func sameBlend(a, b trainer.Blend) bool {
	return a.Mode == b.Mode && slices.Equal(a.Channels, b.Channels) && a.GateK == b.GateK && a.GateTau == b.GateTau &&
		a.AlphaLow == b.AlphaLow && a.AlphaTop == b.AlphaTop
}

// admit refuses a germination that cannot be started now.
func (st *step) admit(command *leyline.AdaptationCommand, order *seedOrder, s *seed) *RejectedError {
	if asksForFallback(order.annotations) {
		st.d.Stats.Fallbacks++
		st.global.add("tamiyo_fallback_requested", levelCritical, "seed_id", s.ID, "blueprint_id", s.Blueprint)
		st.global.add("gate_failure", levelCritical, "seed_id", s.ID,
			"gate", gate.Impact.String(), "reason", ReasonFallbackKernel)
		return refuse(command, ReasonFallbackKernel, levelCritical)
	}
	if rejected := closed(command, st.r, st.config.MaxSeeds, st.now); rejected != nil {
		return rejected
	}
	if !st.fits(s) {
		return refuse(command, ReasonTooManySeeds, levelWarning).because("the run's record is full")
	}
	if err := s.Blend.Fits(s.Shape); err != nil {
		return refuse(command, ReasonInvalidBlend, levelError).because(err.Error())
	}
	st.r.Breaker.allow(st.now) // takes the probe of one that is half open
	return nil
}

// closed refuses each germination there could be now, whatever it is of. A record that is nearly
// full is left to the seed that is too much for it.
func closed(command *leyline.AdaptationCommand, r *Record, maxSeeds int, now millis) *RejectedError {
	breaker := r.Breaker // a copy: what it allows, it counts as begun
	switch {
	case len(r.Seeds) >= maxSeeds:
		return refuse(command, ReasonTooManySeeds, levelWarning)
	case r.Emergency.Level >= pausingLevel:
		return refuse(command, ReasonEmergency, levelWarning).because(r.Emergency.Level.String())
	case !breaker.allow(now):
		return refuse(command, ReasonBreakerOpen, levelWarning)
	default:
		return nil
	}
}

// recordRoom bounds a record to which a seed is added: what it grows by afterwards, when
// every seed is ordered out at once, has as much room again.
const recordRoom = 112 << 10

// fits says whether there is room for one more seed.
func (st *step) fits(s *seed) bool {
	next := *st.r
	next.Seeds = append(slices.Clone(next.Seeds), s)
	text, err := json.Marshal(&next)
	return err == nil && len(text) <= recordRoom
}

func asksForFallback(annotations map[string]string) bool {
	return slices.ContainsFunc(fallbackAnnotations, func(name string) bool { return trainer.IsTrue(annotations[name]) })
}

func (st *step) noteOperation(s *seed, command *leyline.AdaptationCommand, order *seedOrder) {
	st.seedEvent(s, "seed_operation", levelInfo,
		"command_type", command.GetCommandType().String(), "operation", order.operation.String(),
		"blueprint_id", s.Blueprint, "command_id", bounded(command.GetCommandId()))
}

// noteController echoes what the controller annotated, and warns when it
// decided on thin features.
func (st *step) noteController(s *seed, annotations map[string]string) {
	var pairs []string
	for _, name := range echoedAnnotations {
		if text := annotations[name]; text != "" {
			pairs = append(pairs, name, bounded(text))
		}
	}
	if len(pairs) == 0 {
		return
	}
	st.seedEvent(s, "tamiyo_annotations", levelInfo, pairs...)
	coverage, err := strconv.ParseFloat(annotations["feature_coverage"], 64)
	if err != nil || coverage >= 0.3 {
		return
	}
	level := levelWarning
	if coverage < 0.1 {
		level = levelCritical
	}
	st.seedEvent(s, "degraded_inputs", level, append(pairs, "coverage_avg", strconv.FormatFloat(coverage, 'f', 3, 64))...)
}
