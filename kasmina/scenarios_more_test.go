package kasmina

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
)

// A violation belongs to a seed that the trainer lists: one that is not known is
// not counted, it is dropped.
func TestScenario27_ViolationMakesTheRunUnhealthy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.trainer.spoil = spoiled("shared_parameters", 2)
	w.emitted()
	w.report()
	packets := w.emitted()
	global := packets[len(packets)-1]
	if !strings.HasPrefix(global.GetPacketId(), "kasmina-global-") ||
		metric(global, "kasmina.isolation.violations").GetValue() != 1 ||
		global.GetSystemHealth().GetStatus() != leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY {
		t.Errorf("packet %v", global)
	}
}

func TestScenario28_RepeatedViolationIsCritical(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.trainer.spoil = spoiled("host_gradient_max", 1e-30)
	for range 2 {
		w.report()
		w.wantStage("s", lifecycle.Training)
	}
	w.emitted()
	w.report()
	w.wantStage("s", lifecycle.Embargoed)
	packet := w.packets[0]
	if event, attributes := w.told("violation_recorded"); event.GetLevel() != levelCritical || attributes["violations"] != "3" {
		t.Errorf("event %v", event)
	}
	if got := packet.GetSystemHealth().GetIndicators(); got["priority"] != "MESSAGE_PRIORITY_CRITICAL" || got["seed_id"] != "s" {
		t.Errorf("indicators %v", got)
	}
	if _, attributes := w.told("isolation_breaker"); attributes["breaker_state"] != "CIRCUIT_STATE_OPEN" {
		t.Errorf("event %v", attributes)
	}
}

func TestScenario31_TwoSeedsOfOneBlueprintAskEachForItsKernel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("a")
	w.plant("b")
	if len(w.requests) != 2 || w.requests[0].Request.GetRequestId() == w.requests[1].Request.GetRequestId() {
		t.Errorf("requests %v", w.requests)
	}
	w.wantGrafted("a", "b")
}

func TestScenario32_PauseAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	pause := ofType(leyline.CommandType_COMMAND_PAUSE)
	w.accepts(w.command(0, "s", pause))
	w.report()
	if !w.trainer.seeds[0].paused || States(w.record)[0].GetMetrics()["paused"] != 1 {
		t.Error("not paused")
	}
	w.accepts(w.command(0, "s", pause, annotate("resume", "TRUE")))
	w.report()
	if w.trainer.seeds[0].paused {
		t.Error("not resumed")
	}
	w.told("seed_resumed")
	w.wantGrafted("s")
	if got := w.kinds(); !slices.Equal(got, []string{"attach:s", "pause:s", "resume:s"}) {
		t.Errorf("orders %v", got)
	}
}

func TestScenario34_EmergencyIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.accepts(w.command(0, "", ofType(leyline.CommandType_COMMAND_EMERGENCY)))
	event, attributes := w.told("emergency_cleanup")
	if event.GetLevel() != levelCritical || attributes["kernel_cache_cleared"] != "" {
		t.Errorf("event %v", event)
	}
}

func TestScenario39_UnsignedCommandDoesNothingAndIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	command := w.command(opGerminate, "s")
	delete(command.Annotations, "signature")
	w.rejects(command, ReasonMissingSignature)
	w.wantStage("s", lifecycle.Unknown)
	last := w.packets[len(w.packets)-1]
	if got := last.GetSystemHealth().GetIndicators()["priority"]; got != "MESSAGE_PRIORITY_CRITICAL" {
		t.Errorf("priority %s", got)
	}
	w.told("command_rejected")
}

// The prototype refuses a second delivery of the same command; that is no
// attack (R4). Another command of the same id is one.
func TestScenario40_ReplayedIdIsRefusedAndCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	command := w.command(opGerminate, "s")
	w.accepts(command)
	other := w.command(opGerminate, "other", func(c *leyline.AdaptationCommand) { c.CommandId = command.GetCommandId() })
	w.rejects(other, ReasonNonceReplayed)
	if event, _ := w.told("command_rejected"); event.GetLevel() != levelCritical {
		t.Errorf("event %v", event)
	}
	w.counters.Verified(3 * time.Microsecond)
	points := counted(w.counters)
	for name, text := range map[string]string{
		"kasmina.command_verifier.accepted_total":        "",
		"kasmina.command_verifier.rejections_total":      ReasonNonceReplayed,
		"kasmina.command_verifier.validation_latency_ms": "",
	} {
		texts := []string{}
		if text != "" {
			texts = append(texts, text)
		}
		if got := point(points, name, texts...); got.GetValue() <= 0 {
			t.Errorf("%s is %v", name, got)
		}
	}
}

func TestScenario41_ForgottenCommandsStayUnusable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxCommands = 1 })
	w.meet()
	first := w.command(opGerminate, "a")
	w.accepts(first)
	w.now = w.now.Add(time.Second)
	w.do(opGerminate, "b")
	w.rejects(first, ReasonStaleCommand)
	if event, attributes := w.told("nonce_ledger_truncated"); event.GetLevel() != levelWarning ||
		attributes["removed"] != "1" || attributes["size"] != "1" {
		t.Errorf("event %v", event)
	}
	if got := point(telemetry.MetricPoints(runFigures(w.record, nil, nil)), "kasmina.nonce_ledger.size").GetValue(); got != 1 {
		t.Errorf("size %v", got)
	}
}

// Age counts reports: trainers of language models have no epochs.
func TestScenario44_AgeIsExported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	for range 3 {
		w.report()
	}
	if age := States(w.record)[0].GetAgeEpochs(); age != 4 {
		t.Errorf("age %d", age)
	}
}

func TestScenario47_CommandsWithoutWhatTheyNeedAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.rejects(w.command(0, "", ofType(leyline.CommandType_COMMAND_PAUSE)), ReasonMissingSeedID)
	w.rejects(w.command(0, "unknown", ofType(leyline.CommandType_COMMAND_PAUSE)), ReasonUnknownSeed)
	w.rejects(w.command(opGerminate, "s", ofType(leyline.CommandType_COMMAND_SEED)), ReasonUnsupportedCommand)
	if len(w.record.Seeds) != 0 {
		t.Error("a refused command left a seed behind")
	}
}

func TestScenario53_ConfidenceComesWholeToTheTrainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s", annotate("blend_mode", "CONFIDENCE"), annotate("blend_mode_source", "policy"),
		annotate("gate_k", "4"), annotate("gate_tau", "0.2"), annotate("alpha_lo", "0.1"), annotate("alpha_hi", "0.9"))
	want := trainer.Blend{Mode: trainer.Confidence, Source: "policy", GateK: 4, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9}
	if got := w.orders[0].Blend; !sameBlend(got, want) || got.Source != want.Source {
		t.Errorf("blend %+v", got)
	}
	if _, attributes := w.told("blend_config"); attributes["mode"] != "CONFIDENCE" || attributes["source"] != "policy" {
		t.Errorf("event %v", attributes)
	}
}

func TestScenario54_MissingLogitsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	rejected := w.rejects(w.command(opGerminate, "s", annotate("blend_mode", "CONFIDENCE"),
		annotate("confidence_logits_required", "true")), ReasonMissingLogits)
	if !strings.Contains(rejected.Error(), "missing_confidence_logits") || len(w.record.Seeds) != 0 {
		t.Errorf("got %v", rejected)
	}
	if got := stages(w.packets, "s"); len(got) != 0 {
		t.Errorf("told stages %v", got)
	}
}

func TestScenario56_ChannelsComeWholeToTheTrainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	channel := annotate("blend_mode", "CHANNEL")
	w.rejects(w.command(opGerminate, "s", channel), ReasonInvalidBlend)
	w.rejects(w.command(opGerminate, "s", channel, annotate("alpha_vec", strings.Repeat("0.5,", 65))), ReasonInvalidBlend)
	w.rejects(w.command(opGerminate, "s", channel, annotate("alpha_vec", "0.5")), ReasonInvalidBlend)
	w.plant("s", channel, annotate("alpha_vec", "[0.2,0.6,1.0]"))
	if got := w.orders[0].Blend.Channels; !slices.Equal(got, []float32{0.2, 0.6, 1}) {
		t.Errorf("channels %v", got)
	}
	if _, attributes := w.told("blend_config"); attributes["mode"] != "CHANNEL" || attributes["alpha_vec_len"] != "3" {
		t.Errorf("event %v", attributes)
	}
}

// The prototype takes an unknown mode for CONVEX; it is refused here (R10).
func TestScenario57_UnknownModeIsRefusedAndNoneIsNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.rejects(w.command(opGerminate, "s", annotate("blend_mode", "cosine")), ReasonInvalidBlend)
	w.plant("s")
	if told := events(w.packets, "blend_config"); len(told) != 0 {
		t.Errorf("events %v", told)
	}
}

// Strict isolation is the rule: violations pause the seed and then cull it, and
// nothing is raised into the training loop.
func TestScenario59_ViolationIsRecordedAndTheSeedStaysListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.trainer.spoil = spoiled("host_gradient_max", float32(math.NaN()))
	w.report()
	w.wantStage("s", lifecycle.Training)
	w.told("violation_recorded")
}

func TestScenario61_PrewarmLatencyIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	w.emitted()
	w.decide(w.ready(w.lastRequest()))
	if got := metric(w.packets[0], "kasmina.prewarm.latency_ms"); got.GetValue() != 24 || got.GetUnit() != "ms" {
		t.Errorf("metric %v", got)
	}
}

func TestScenario62_BreakerOpensProbesAndCloses(t *testing.T) {
	t.Parallel()
	now := momentOf(noon)
	b := openedBreaker()
	if b.state() != circuitOpen || b.allow(now) || b.allow(now.plus(breakerCooldown)-1) {
		t.Fatal("an open breaker lets a fetch through")
	}
	later := now.plus(breakerCooldown)
	for range breakerSuccesses {
		if !b.allow(later) || b.allow(later) {
			t.Fatal("not exactly one probe")
		}
		b.succeed()
	}
	if b.state() != circuitClosed || b.Failures != 0 {
		t.Errorf("breaker %+v", b)
	}
	for _, state := range []leyline.CircuitBreakerState{circuitOpen, circuitHalfOpen, circuitClosed} {
		if !b.force(state, now) || b.state() != state {
			t.Errorf("not forced to %s", state)
		}
	}
	if b.force(leyline.CircuitBreakerState_CIRCUIT_STATE_UNKNOWN, now) {
		t.Error("an unknown state was taken")
	}
}

func TestScenario64_AnswerReachesTheSeedInOneDecision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	if d := w.decide(w.ready(w.lastRequest())); len(d.Orders) != 1 || d.Orders[0].Kind != trainer.Attach {
		t.Errorf("orders %v", d.Orders)
	}
}

func TestScenario66_IncompleteBlendsLeaveNoSeedBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.rejects(w.command(opGerminate, "s", annotate("blend_mode", "CHANNEL")), ReasonInvalidBlend)
	w.rejects(w.command(opGerminate, "s", annotate("blend_mode", "CONFIDENCE"),
		annotate("confidence_logits_required", "true"), annotate("confidence_logits", "[x")), ReasonInvalidBlend)
	if len(w.record.Seeds) != 0 || len(w.requests) != 0 {
		t.Errorf("seeds %v, requests %v", States(w.record), w.requests)
	}
}
