package weatherlight

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	inTraining  = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	inBlending  = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	inShadowing = leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	onProbation = leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	kept        = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
	embargoed   = leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED
)

// patientSettings let no seed move on by itself, only by command.
var patientSettings = map[string]string{
	"KASMINA_MIN_TRAINING": "1000", "KASMINA_TRAIN_EPOCHS": "100000", "KASMINA_MAX_BLENDING": "100000",
	"KASMINA_MIN_SHADOWING": "1000", "KASMINA_MAX_SHADOWING": "100000", "KASMINA_MAX_PROBATION": "100000",
	"KASMINA_ALPHA_STEPS": "1000000", "KASMINA_EMBARGO_SECONDS": "50ms",
	"TAMIYO_MAX_SEED_AGE_EPOCHS": "1000000", "TAMIYO_STALL_EPOCHS": "100000",
}

// weights are a host of one parameter, which its trainer goes on training.
type weights struct {
	value     float64
	optimizer map[string]float32
}

func (w *weights) Snapshot(string) any { return w.value }

func (w *weights) Restore(snapshot any, scope graft.Scope) error {
	if scope == graft.Whole {
		w.value = snapshot.(float64)
	}
	return nil
}

func (w *weights) Optimizer(id string, hyperparameters map[string]float32) error {
	w.optimizer = map[string]float32{id: 1}
	maps.Copy(w.optimizer, hyperparameters)
	return nil
}

// hosted is a garden whose trainer has weights and takes optimizer orders.
func hosted(t *testing.T) (*garden, *weights) {
	t.Helper()
	host := &weights{}
	g := newGardenFor(t, "BP002", start(t, newService(t, patientSettings)), func(c *graft.Config) {
		c.Host, c.Accepts = host, []string{string(trainer.Optimizer)}
	})
	return g, host
}

// order sends a command that concerns the run as a whole, or a seed without an operation.
func (g *garden) order(id, seedID string, kind leyline.CommandType, change func(*leyline.AdaptationCommand)) {
	g.t.Helper()
	command := g.signed(id, seedID, leyline.SeedOperation_SEED_OP_UNKNOWN)
	command.CommandType, command.Payload = kind, nil
	change(command)
	if err := g.keyring.SignCommand(command); err != nil {
		g.t.Fatal(err)
	}
	if err := g.bus.Publish(g.t.Context(), oona.Message{Payload: command}); err != nil {
		g.t.Fatal(err)
	}
}

// grafted is a seed as the trainer holds it; its zero value when it does not.
func (g *garden) grafted(id string) graft.Seed {
	for _, seed := range g.graft.Seeds() {
		if seed.ID == id {
			return seed
		}
	}
	return graft.Seed{}
}

// until reports until the trainer or the run shows it.
func (g *garden) until(what string, holds func() bool) {
	g.t.Helper()
	eventually(g.t, what, func() bool { g.tell(); return holds() })
}

// tell reports, and waits until the report is decided on: what holds between two reports
// only is seen.
func (g *garden) tell() {
	g.t.Helper()
	g.report()
	eventually(g.t, "the report is decided on", func() bool {
		view := g.view()
		return view != nil && view.Kasmina != nil && view.Kasmina.Trainer.Epoch == g.epoch
	})
}

// drive takes a seed from stage to stage by commands alone.
func (g *garden) drive(id string, to leyline.SeedLifecycleStage) {
	g.t.Helper()
	for _, step := range []struct {
		operation leyline.SeedOperation
		stage     leyline.SeedLifecycleStage
	}{
		{leyline.SeedOperation_SEED_OP_GERMINATE, inTraining},
		{leyline.SeedOperation_SEED_OP_START_GRAFTING, inBlending},
		{leyline.SeedOperation_SEED_OP_STABILIZE, inShadowing},
		{leyline.SeedOperation_SEED_OP_EVALUATE, onProbation},
		{leyline.SeedOperation_SEED_OP_FOSSILIZE, kept},
	} {
		if step.stage > to || g.stage(id) >= step.stage {
			continue
		}
		if step.stage == kept {
			g.until("the seed has earned its place", func() bool { return seedOf(g.t, g.view(), id).Earned })
		} else {
			g.tell() // evidence in the stage, for the gates
		}
		g.command(fmt.Sprint(id, step.operation), id, step.operation)
		if step.stage == kept { // the next report would bring the controller's own word
			eventually(g.t, "the seed is ordered to be kept", func() bool { return seedOf(g.t, g.view(), id).Ordered == kept.String() })
		}
		g.await(id, step.stage)
		if held := g.grafted(id).Stage; held != step.stage {
			g.t.Errorf("after %s the trainer holds it in %s", step.operation, held)
		}
	}
}

func TestEverySeedOperationReachesTheTrainer(t *testing.T) {
	g, _ := hosted(t)
	g.drive("seed-1", inTraining)
	trained := seedOf(t, g.view(), "seed-1").Order
	g.command("train-on", "seed-1", leyline.SeedOperation_SEED_OP_START_TRAINING)
	g.until("the order to train is applied", func() bool { return seedOf(t, g.view(), "seed-1").Order > trained })
	g.drive("seed-1", onProbation)
	g.drive("seed-1", kept)
	g.command("tune", "seed-1", leyline.SeedOperation_SEED_OP_FINE_TUNE)
	g.until("the kept seed trains along", func() bool { return g.grafted("seed-1").Tuned })

	g.drive("seed-2", inTraining)
	g.command("cull", "seed-2", leyline.SeedOperation_SEED_OP_CULL)
	g.until("the culled seed is gone from the trainer", func() bool { return g.grafted("seed-2") == graft.Seed{} })
	g.drive("seed-3", inTraining)
	g.command("cancel", "seed-3", leyline.SeedOperation_SEED_OP_CANCEL)
	g.until("the cancelled seed is gone from the trainer", func() bool { return g.grafted("seed-3") == graft.Seed{} })
	g.until("both are reset after their embargo", func() bool {
		view := g.view()
		return len(view.Kasmina.Seeds) == 1 && view.Kasmina.Seeds[0].ID == "seed-1"
	})
	if drops := g.bus.Drops(); len(drops) != 0 {
		t.Errorf("refused %v", drops)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestPauseQuietsASeedUntilItIsResumed(t *testing.T) {
	g, _ := hosted(t)
	g.drive("seed-1", inShadowing)
	g.order("pause", "seed-1", leyline.CommandType_COMMAND_PAUSE, func(*leyline.AdaptationCommand) {})
	g.until("the seed is out of the output", func() bool {
		seed := g.grafted("seed-1")
		return seed.Paused && seed.Share == 0
	})
	g.order("resume", "seed-1", leyline.CommandType_COMMAND_PAUSE, func(c *leyline.AdaptationCommand) {
		c.Annotations["resume"] = "true"
	})
	g.until("the seed is back", func() bool {
		seed := g.grafted("seed-1")
		return !seed.Paused && seed.Share == 1
	})
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestOptimizerCommandReachesTheTrainer(t *testing.T) {
	g, host := hosted(t)
	adjust := func(rate float32) func(*leyline.AdaptationCommand) {
		return func(c *leyline.AdaptationCommand) {
			c.Payload = &leyline.AdaptationCommand_OptimizerAdjustment{OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{
				OptimizerId: "adam", Hyperparameters: map[string]float32{"lr": rate},
			}}
		}
	}
	g.order("slower", "", leyline.CommandType_COMMAND_OPTIMIZER, adjust(0.5))
	g.until("the trainer's optimizer is set", func() bool {
		return maps.Equal(host.optimizer, map[string]float32{"adam": 1, "lr": 0.5})
	})
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// A training loop that is busy for longer than a command allows does not carry it out.
func TestOrderThatTheTrainingLoopTakesUpTooLateIsDropped(t *testing.T) {
	g, host := hosted(t)
	const limit = 2 * time.Second
	read := g.graft.Stats().Read
	g.order("late", "", leyline.CommandType_COMMAND_OPTIMIZER, func(c *leyline.AdaptationCommand) {
		c.ExecutionDeadlineMs = uint32(limit.Milliseconds())
		c.Payload = &leyline.AdaptationCommand_OptimizerAdjustment{OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{
			OptimizerId: "adam", Hyperparameters: map[string]float32{"lr": 0.25},
		}}
	})
	eventually(t, "the order has arrived", func() bool { return g.graft.Stats().Read > read })
	arrived := time.Now()
	eventually(t, "its deadline is past", func() bool { return time.Since(arrived) > limit })
	g.report()
	if late := g.graft.Stats().Dropped[graft.DropLate]; late != 1 || host.optimizer != nil {
		t.Errorf("%d orders were too late, the optimizer is set to %v", late, host.optimizer)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestRollbackRestoresWhatTheHostWas(t *testing.T) {
	g, host := hosted(t)
	host.value = 1.25
	g.drive("seed-1", inBlending)
	host.value = -7
	g.drive("seed-1", kept)
	g.rollback("seed-1")
	g.until("the host is what it was as the seed began to blend", func() bool { return host.value == 1.25 })
	if seed := g.grafted("seed-1"); seed != (graft.Seed{}) {
		t.Errorf("the trainer still holds %+v", seed)
	}
	g.until("the seed is reset", func() bool { return len(g.view().Kasmina.Seeds) == 0 })
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestPruningTakesSeedsOutOfTheTrainer(t *testing.T) {
	g, _ := hosted(t)
	g.drive("seed-1", kept)
	g.drive("seed-2", inTraining)
	for _, id := range []string{"seed-1", "seed-2"} {
		g.order("prune-"+id, id, leyline.CommandType_COMMAND_STRUCTURAL_PRUNING, func(*leyline.AdaptationCommand) {})
		g.until("the pruned seed is gone from the trainer", func() bool { return g.grafted(id) == graft.Seed{} })
	}
	ended := make(map[string]string)
	for _, seed := range g.view().Kasmina.Ended {
		ended[seed.ID] = seed.Reason
	}
	if ended["seed-1"] != "pruned" || ended["seed-2"] != "pruned" || len(g.bus.Drops()) != 0 {
		t.Errorf("ended %v, refused %v", ended, g.bus.Drops())
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestEmergencyCommandQuietsTheSeedsAndIsLifted(t *testing.T) {
	g, _ := hosted(t)
	g.drive("seed-1", inShadowing)
	level := func(level string) func(*leyline.AdaptationCommand) {
		return func(c *leyline.AdaptationCommand) { c.Annotations["level"] = level }
	}
	g.order("halt", "", leyline.CommandType_COMMAND_EMERGENCY, level("4"))
	g.until("the run halts and its seed is out of the output", func() bool {
		return g.graft.Halted() && g.grafted("seed-1").Share == 0
	})
	g.order("lift", "", leyline.CommandType_COMMAND_EMERGENCY, level("0"))
	g.until("the run goes on with its seed", func() bool {
		return !g.graft.Halted() && g.grafted("seed-1").Share == 1
	})
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestForcedCircuitBreakerKeepsGerminationsAway(t *testing.T) {
	g, _ := hosted(t)
	force := func(id string, state leyline.CircuitBreakerState) {
		g.order(id, "", leyline.CommandType_COMMAND_CIRCUIT_BREAKER, func(c *leyline.AdaptationCommand) {
			c.Payload = &leyline.AdaptationCommand_CircuitBreaker{CircuitBreaker: &leyline.CommandCircuitBreaker{DesiredState: state}}
		})
		eventually(t, "the breaker is "+state.String(), func() bool { return g.view().Kasmina.Breaker == state.String() })
	}
	force("open", leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN)
	g.command("refused", "seed-1", leyline.SeedOperation_SEED_OP_GERMINATE)
	eventually(t, "the germination is refused", func() bool { return len(g.bus.Drops()) > 0 })
	if seeds := g.view().Kasmina.Seeds; len(seeds) != 0 {
		t.Errorf("a refused germination left %+v", seeds)
	}
	force("closed", leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED)
	g.command("taken", "seed-1", leyline.SeedOperation_SEED_OP_GERMINATE)
	g.await("seed-1", inTraining)
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// What a command asks of a kernel changes its bytes.
func TestParametersOfAGerminationReachTheKernel(t *testing.T) {
	g, _ := hosted(t)
	g.drive("seed-1", inTraining)
	plain := seedOf(t, g.view(), "seed-1").Checksum
	name := slices.Sorted(maps.Keys(g.blueprint.GetAllowedParameters()))[0]
	bounds := g.blueprint.GetAllowedParameters()[name]
	command := g.signed("with-parameters", "seed-2", leyline.SeedOperation_SEED_OP_GERMINATE)
	command.GetSeedOperation().Parameters = map[string]float32{name: float32(bounds.GetMaxValue())}
	if err := g.keyring.SignCommand(command); err != nil {
		t.Fatal(err)
	}
	if err := g.bus.Publish(t.Context(), oona.Message{Payload: command}); err != nil {
		t.Fatal(err)
	}
	g.await("seed-2", inTraining)
	if sum := seedOf(t, g.view(), "seed-2").Checksum; sum == plain {
		t.Errorf("with %s = %v the kernel is the same, %s", name, bounds.GetMaxValue(), sum)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// Each variable of Kasmina's changes what decides on seeds.
func TestEverySettingOfGrowthIsUsed(t *testing.T) {
	other := map[string]string{
		"KASMINA_AUTO_FOSSILIZE": "true", "KASMINA_ALPHA_SCHEDULE": "cosine", "KASMINA_MAX_GRADIENT_COSINE": "0.5",
		"KASMINA_TRAIN_EPOCHS": "17", "KASMINA_MAX_SHADOWING": "77", "KASMINA_MAX_PROBATION": "77",
		"TAMIYO_STALL_EPOCHS": "7", "TAMIYO_STALL_GAIN": "0.7", "TAMIYO_MAX_GROWING": "7", "TAMIYO_MAX_SEED_AGE_EPOCHS": "77",
	}
	for _, field := range loadSettings(t, nil).Fields() {
		if strings.HasPrefix(field.Env, "KASMINA_") && other[field.Env] == "" {
			other[field.Env] = map[bool]string{false: "7", true: "0.7"}[strings.Contains(field.Value, "0.")]
		}
	}
	rules := func(extra map[string]string) []any {
		set := loadSettings(t, extra)
		controller := controllerConfig(set)
		controller.Rules = nil // of functions only nil equals nil
		core := coreConfig(set.Kasmina, nil, "")
		return []any{core, controller}
	}
	usual := rules(nil)
	for name, value := range other {
		if reflect.DeepEqual(rules(map[string]string{name: value}), usual) {
			t.Errorf("%s=%s changes nothing", name, value)
		}
	}
}

// Instances whose settings differ decide on the same seed, one after the other.
func TestGerminationsCarryTheRulesOfTheSettings(t *testing.T) {
	set := loadSettings(t, map[string]string{"KASMINA_MIN_TRAINING": "5", "KASMINA_SIGMA": "1.5"})
	rules := controllerConfig(set).Rules("run-1")
	for name, want := range map[string]string{
		"promotion_min_training": "5", "promotion_sigma": "1.5", "promotion_max_probation": "10",
	} {
		if rules[name] != want {
			t.Errorf("%s is %q, want %q", name, rules[name], want)
		}
	}
}
