package kasmina

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestCommandsAreVerifiedInOrder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		sign   change // before the signature
		spoil  change // after it
		reason string
		level  leyline.TelemetryLevel
	}{
		{"unsigned", nil, annotate("signature", ""), ReasonMissingSignature, levelCritical},
		{"forged", nil, annotate("signature", "AAAA"), ReasonInvalidSignature, levelCritical},
		{"not text", nil, annotate("signature", "\xff漢"), ReasonInvalidSignature, levelCritical},
		{"changed", nil, annotate("training_run_id", "other"), ReasonInvalidSignature, levelCritical},
		{"no id", func(c *leyline.AdaptationCommand) { c.CommandId = "" }, nil, ReasonMissingCommandID, levelError},
		{"long id", func(c *leyline.AdaptationCommand) { c.CommandId = string(make([]byte, 200)) }, nil,
			ReasonIdentifierTooLong, levelError},
		{"no time", func(c *leyline.AdaptationCommand) { c.IssuedAt = nil }, nil, ReasonMissingTimestamp, levelCritical},
		{"future", issued(noon.Add(6 * time.Second)), nil, ReasonIssuedInFuture, levelError},
		{"stale", issued(noon.Add(-61 * time.Second)), nil, ReasonStaleCommand, levelCritical},
		{"late", func(c *leyline.AdaptationCommand) {
			issued(noon.Add(-2 * time.Second))(c)
			within(1999)(c)
		}, nil, ReasonDeadlineExceeded, levelWarning},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.sign == nil {
				tt.sign = func(*leyline.AdaptationCommand) {}
			}
			command := w.command(opGerminate, "s", tt.sign)
			if tt.spoil != nil {
				tt.spoil(command)
			}
			before := proto.CloneOf(command)
			rejected := w.rejects(command, tt.reason)
			if !proto.Equal(before, command) {
				t.Error("the caller's command was changed")
			}
			if forged := tt.reason == ReasonInvalidSignature; forged && rejected.Ours {
				t.Error("a forged command is taken for our own")
			}
			event, attributes := w.told("command_rejected")
			if event.GetLevel() != tt.level || attributes["reason"] != tt.reason {
				t.Errorf("event %v", event)
			}
			if point(counted(w.counters), "kasmina.command_verifier.rejections_total", tt.reason).GetValue() != 1 {
				t.Error("not counted")
			}
		})
	}
}

func TestCommandsAtTheEdgeOfFreshnessAreGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "young", issued(w.now.Add(5*time.Second)))
	w.do(opGerminate, "old", issued(w.now.Add(-time.Minute)))
	w.do(opGerminate, "just", issued(w.now.Add(-time.Second)), within(1000))
	if w.core.Verify(nil, nil, w.now) == nil || NewCore(Config{}).Verify(nil, w.command(opCull, "s"), w.now).Reason != ReasonVerifierUnavailable {
		t.Error("no command and no secret are believed")
	}
}

func TestPythonsSignedCommandIsAccepted(t *testing.T) {
	t.Parallel()
	const signed = "08011205636d642d3118012206736565642d3132060880e2cfaa063a0674616d69796f521d0801120542503030311a080a0161" +
		"15000000001a080a0162150000003fa201250a106d6573685f686f73745f6c617965727312115b22776569676874222c226269617322" +
		"5da201180a0f747261696e696e675f72756e5f6964120572756e2d31"
	content, err := hex.DecodeString(signed)
	if err != nil {
		t.Fatal(err)
	}
	command := new(leyline.AdaptationCommand)
	if err := proto.Unmarshal(content, command); err != nil {
		t.Fatal(err)
	}
	command.Annotations["signature"] = "wgIqSvk8b4X+rQg3f5i8RhgjwnyEb16ynvoELVfErR0="
	w := newWorld(t)
	w.now = time.Unix(1700000000, 0)
	w.meet()
	w.accepts(command)
	w.decide(w.ready(w.lastRequest()))
	w.report()
	w.wantStage("seed-1", lifecycle.Training)
}

func TestCullThatOvertakesItsGerminationHolds(t *testing.T) {
	t.Parallel()
	for _, op := range []leyline.SeedOperation{opCull, opCancel} {
		w := newWorld(t)
		w.meet()
		germinate := w.command(opGerminate, "s")
		w.now = w.now.Add(time.Second)
		w.do(op, "s")
		w.accepts(germinate)
		w.wantStage("s", lifecycle.Unknown)
		w.do(opGerminate, "s")
		w.wantStage("s", lifecycle.Germinated)
	}
}

func TestCommandThatWasOvertakenIsAcknowledgedQuietly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	pause := w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE))
	cull := w.command(opCull, "s")
	w.now = w.now.Add(time.Second)
	w.accepts(w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE), annotate("resume", "true")))
	w.emitted()
	before := stored(t, w.record)
	w.accepts(pause)
	w.accepts(cull)
	if stored(t, w.record) != before || len(w.emitted()) != 0 {
		t.Error("an overtaken command had an effect")
	}
}

func TestSeedOperationsForceTheNextStageOnlyThroughItsGates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		op    leyline.SeedOperation
		stage leyline.SeedLifecycleStage // in which it is allowed
		to    leyline.SeedLifecycleStage
		kind  trainer.Kind
	}{
		{opTrain, lifecycle.Training, lifecycle.Training, trainer.Train},
		{opGraft, lifecycle.Training, lifecycle.Blending, trainer.BlendIn},
		{opStabilize, lifecycle.Blending, lifecycle.Shadowing, trainer.Hold},
		{opEvaluate, lifecycle.Shadowing, lifecycle.Probationary, trainer.Judge},
		{opTune, lifecycle.Fossilized, lifecycle.Fossilized, trainer.Tune},
	}
	for _, tt := range tests {
		t.Run(tt.op.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
			w.trainer.stepsPerReport = 1
			w.meet()
			slow := annotate("promotion_min_shadowing", "50")
			if tt.op == opTune {
				slow = annotate("promotion_min_shadowing", "1")
			}
			w.plant("s", slow, annotate("promotion_max_shadowing", "100"))
			w.grow("s", tt.stage)
			w.report()
			w.report()
			w.orders = nil
			w.do(tt.op, "s")
			if len(w.orders) != 1 || w.orders[0].Kind != tt.kind || w.orders[0].Stage != tt.to {
				t.Fatalf("orders %+v", w.orders)
			}
			w.report()
			w.wantStage("s", tt.to)
		})
	}
}

func TestOperationsInTheWrongStageOrBehindAGateChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	for _, op := range []leyline.SeedOperation{opTrain, opGraft, opStabilize, opEvaluate, opFossilize, opTune} {
		w.rejects(w.command(op, "s"), ReasonStageMismatch)
		w.rejects(w.command(op, "unknown"), ReasonUnknownSeed)
	}
	w.decide(w.ready(w.lastRequest()))
	w.trainer.spoil = spoiled("loss_after", 1.5)
	w.report()
	w.report()
	before := stored(t, w.record)
	if rejected := w.rejects(w.command(opGraft, "s"), ReasonGateFailed); rejected.Detail == "" {
		t.Error("the gate is not named")
	}
	w.rejects(w.command(leyline.SeedOperation_SEED_OP_UNKNOWN, "s"), ReasonUnsupportedOperation)
	w.rejects(w.command(opStabilize, "s"), ReasonStageMismatch)
	if stored(t, w.record) != before {
		t.Error("a refused command changed the record")
	}
	w.accepts(w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE)))
	w.rejects(w.command(opGraft, "s"), ReasonSeedPaused)
}

func TestFossilizeIsRefusedBeforeItIsEarned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Probationary)
	w.rejects(w.command(opFossilize, "s"), ReasonNotEarned)
	w.report()
	w.report()
	w.trainer.spoil = func(_ *fakeSeed, m map[string]float32) { m["loss_after"], m["accuracy_after"] = 1, 0.8 }
	w.report()
	w.rejects(w.command(opFossilize, "s"), ReasonNotEarned)
	w.wantStage("s", lifecycle.Probationary)
}

func TestLiveSeedIsNotGerminatedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxSeeds = 1 })
	w.meet()
	w.plant("s")
	w.do(opGerminate, "s") // the same one once more
	w.rejects(w.command(opGerminate, "s", annotate("blend_mode", "RESIDUAL")), ReasonSeedLive)
	w.rejects(w.command(opGerminate, "t"), ReasonTooManySeeds)
	w.wantGrafted("s")
	if len(w.requests) != 1 {
		t.Errorf("%d requests", len(w.requests))
	}
}

func TestArchitecturePageSaysWhatEachTypeOfCommandDoes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for number, name := range leyline.CommandType_name {
		if number != 0 && !strings.Contains(string(page), "\n| `"+strings.TrimPrefix(name, "COMMAND_")+"` |") {
			t.Errorf("the page does not say what %s does", name)
		}
	}
}

func TestOptimizerIsOnlyAdjustedWhereTheTrainerTakesIt(t *testing.T) {
	t.Parallel()
	adjust := func(values map[string]float32) change {
		return func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_OPTIMIZER
			c.Payload = &leyline.AdaptationCommand_OptimizerAdjustment{OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{
				OptimizerId: "sgd", Hyperparameters: values,
			}}
		}
	}
	w := newWorld(t)
	w.rejects(w.command(0, "", adjust(nil)), ReasonNoTrainer)
	w.meet()
	w.rejects(w.command(0, "", adjust(nil)), ReasonNotAccepted)
	w.trainer.accepts = []string{"optimizer"}
	w.report()
	w.rejects(w.command(0, "", adjust(map[string]float32{"lr": float32(evidence.Unknown())})), ReasonInvalidOptimizer)
	w.accepts(w.command(0, "", adjust(map[string]float32{"lr": 0.1})))
	w.told("optimizer_adjust")
	w.report()
	if len(w.record.Pending) != 0 || len(w.orders) != 1 {
		t.Errorf("orders %v, pending %+v", w.kinds(), w.record.Pending)
	}
}

func TestBreakerIsForcedForARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	force := func(state leyline.CircuitBreakerState) *leyline.AdaptationCommand {
		return w.command(0, "", func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_CIRCUIT_BREAKER
			c.Payload = &leyline.AdaptationCommand_CircuitBreaker{CircuitBreaker: &leyline.CommandCircuitBreaker{DesiredState: state}}
		})
	}
	w.rejects(force(circuitOpen), ReasonNoTrainer)
	w.meet()
	w.rejects(force(7), ReasonInvalidBreakerState)
	w.accepts(force(circuitOpen))
	w.told("breaker_event")
	w.rejects(w.command(opGerminate, "s"), ReasonBreakerOpen)
	w.accepts(force(circuitClosed))
	w.do(opGerminate, "s")
	everyRun := force(circuitOpen)
	delete(everyRun.Annotations, "training_run_id")
	if err := w.keyring.SignCommand(everyRun); err != nil {
		t.Fatal(err)
	}
	w.accepts(everyRun)
	if w.record.Breaker.state() != circuitOpen {
		t.Error("a command for all runs is for this one too")
	}
}

func TestOrderOfACommandIsNotRepeatedAfterItsDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.accepts(w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE), within(2000)))
	w.orders = nil // lost
	w.wait(3 * time.Second)
	w.report()
	w.told("order_expired")
	if got := w.kinds(); len(got) != 0 {
		t.Errorf("orders %v", got)
	}
	if names := NewView(w.record).Seeds[0].Paused; len(names) != 0 {
		t.Errorf("the record says paused by %v, the trainer never heard of it", names)
	}
}

// A record that is full could not be stored, and its run would stand still.
func TestGerminationsThatWouldFillTheRecordAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	layers := make([]string, 100)
	for i := range layers {
		layers[i] = strings.Repeat("layer", 20) + strconv.Itoa(i)
	}
	mesh := strings.Join(layers, ",")
	var refused *RejectedError
	for i := 0; i < 64 && refused == nil; i++ {
		refused = w.send(w.command(opGerminate, "seed-"+strconv.Itoa(i),
			annotate("mesh_host_layers", mesh)))
	}
	text, err := json.Marshal(w.record)
	if refused == nil || refused.Reason != ReasonTooManySeeds || len(w.record.Seeds) < 2 {
		t.Errorf("%d seeds, refused: %v", len(w.record.Seeds), refused)
	}
	if err != nil || len(text) > 192<<10 {
		t.Errorf("a record of %d bytes, %v", len(text), err)
	}
}
