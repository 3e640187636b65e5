package kasmina

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

func commandOf(kind leyline.CommandType) func(*leyline.AdaptationCommand) {
	return func(c *leyline.AdaptationCommand) { c.CommandType, c.Payload = kind, nil }
}

func TestSecondGerminationLeavesALiveSeedAlone(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "s")
		w.rejects(w.command(opGerminate, "s"), ReasonSeedLive)
		w.answer(w.ready(w.lastRequest()))
		w.finalize(1)
		w.rejects(w.command(opGerminate, "s"), ReasonSeedLive)
		w.grow("s", stageProbationary)
		w.rejects(w.command(opGerminate, "s"), ReasonSeedLive)
		w.wantStage("s", stageProbationary)
		w.wantAttached("s")
	})
}

func TestRefusedCommandLeavesNoPhantomSeed(t *testing.T) {
	broken := []struct {
		change func(*leyline.AdaptationCommand)
		reason string
	}{
		{annotate("training_run_id", ""), ReasonMissingTrainingRunID},
		{annotate("mesh_host_layers", ""), ReasonMissingMeshLayers},
		{annotate("mesh_host_layers", "{}"), ReasonInvalidMeshLayers},
		{annotate("confidence_logits_required", "true"), ReasonMissingLogits},
		{annotate("blend_mode", "CHANNEL"), ReasonInvalidBlend},
		{annotate("tamiyo_fallback_seed", "true"), ReasonFallbackKernel},
		{func(c *leyline.AdaptationCommand) { c.TargetSeedId = "" }, ReasonMissingSeedID},
		{func(c *leyline.AdaptationCommand) { c.GetSeedOperation().BlueprintId = " " }, ReasonMissingBlueprintID},
		{func(c *leyline.AdaptationCommand) {
			c.GetSeedOperation().Parameters = map[string]float32{"a": float32(nan())}
		}, ReasonPreflight},
		{func(c *leyline.AdaptationCommand) {
			c.GetSeedOperation().Operation = leyline.SeedOperation_SEED_OP_EVALUATE
		}, ReasonUnsupportedOperation},
		{commandOf(leyline.CommandType_COMMAND_SEED), ReasonUnsupportedCommand},
		{commandOf(leyline.CommandType_COMMAND_ROLLBACK), ReasonUnsupportedCommand},
		{commandOf(leyline.CommandType_COMMAND_STRUCTURAL_PRUNING), ReasonUnsupportedCommand},
		{commandOf(leyline.CommandType_COMMAND_UNKNOWN), ReasonUnsupportedCommand},
		{commandOf(leyline.CommandType_COMMAND_CIRCUIT_BREAKER), ReasonUnsupportedCommand},
		{commandOf(leyline.CommandType_COMMAND_PAUSE), ReasonUnknownSeed},
	}
	inWorld(t, nil, func(w *world) {
		for _, b := range broken {
			w.rejects(w.command(opGerminate, "s", b.change), b.reason)
		}
		for _, op := range []leyline.SeedOperation{opCull, opCancel, opFossilize} {
			w.rejects(w.command(op, "s"), ReasonUnknownSeed)
		}
		if states := w.manager.SeedStates(); len(states) != 0 {
			t.Errorf("phantoms %v", states)
		}
		w.finalize(1)
		for _, packet := range w.emitted() {
			if id := packet.GetSystemHealth().GetIndicators()["seed_id"]; id != "" {
				t.Errorf("phantom packet of %q", id)
			}
		}
	})
}

// A refusal must reach operators, with its reason, on every path.
func TestRefusedValidationIsTold(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.rejects(w.command(opGerminate, "s", annotate("mesh_host_layers", "{}")), ReasonInvalidMeshLayers)
		w.finalize(-1)
		told := events(w.emitted(), "command_validation_failed")
		if len(told) != 1 || told[0].GetAttributes()["reason"] != ReasonInvalidMeshLayers ||
			told[0].GetAttributes()["seed_id"] != "s" || told[0].GetLevel() != levelError {
			t.Errorf("events %v", told)
		}
	})
}

func TestCullDetachesAndEmbargoes(t *testing.T) {
	for _, stage := range []leyline.SeedLifecycleStage{
		stageGerminated, stageTraining, stageBlending, stageShadowing, stageProbationary,
	} {
		t.Run(stage.String(), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				if stage == stageGerminated {
					w.do(opGerminate, "s")
				} else {
					w.plant("s")
					w.grow("s", stage)
				}
				w.emitted()
				w.do(opCull, "s")
				w.wantStage("s", stageEmbargoed)
				w.wantAttached()
				told := events(w.emitted(), "rollback_ready")
				if len(told) != 1 || told[0].GetLevel() != levelInfo || told[0].GetAttributes()["reason"] != "retired" {
					t.Errorf("events %v", told)
				}
				w.do(opCull, "s")
				w.wantStage("s", stageEmbargoed)
				wait(31 * time.Second)
				w.wantStage("s", stageUnknown)
			})
		})
	}
}

func TestCancelResetsAtOnceAndLiftsAnEmbargo(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("a")
		w.do(opCancel, "a")
		w.wantStage("a", stageUnknown)
		w.do(opGerminate, "b")
		w.do(opCull, "b")
		w.wantStage("b", stageEmbargoed)
		w.do(opCancel, "b")
		w.wantStage("b", stageUnknown)
		w.wantAttached()
		if told := events(w.emitted(), "prefetch_canceled"); len(told) != 1 ||
			told[0].GetAttributes()["reason"] != "seed_retired" {
			t.Errorf("events %v", told)
		}
	})
}

func TestFossilizedSeedEndsInTerminated(t *testing.T) {
	inWorld(t, func(c *Config) { c.AutoFossilize = true }, func(w *world) {
		w.plant("s")
		epoch := w.grow("s", stageFossilized)
		leak := goodEvidence()
		leak["host_gradient_max"] = 1
		w.observe("s", epoch, leak)
		w.wantStage("s", stageFossilized)
		w.emitted()
		w.do(opCull, "s")
		w.wantStage("s", stageUnknown)
		w.wantAttached()
		if got := stages(w.emitted(), "s"); !slices.Equal(got, []string{"SEED_STAGE_TERMINATED"}) {
			t.Errorf("told stages %v", got)
		}
	})
}

func TestPausedSeedIsLeftOutUntilItIsResumed(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		epoch := w.grow("s", stageShadowing)
		pause := commandOf(leyline.CommandType_COMMAND_PAUSE)
		w.do(opGerminate, "s", pause)
		if links := w.graft.links(""); len(links) != 0 {
			t.Error("a paused seed blends")
		}
		for range 20 {
			w.observe("s", epoch, nil)
			epoch++
		}
		w.wantStage("s", stageShadowing)
		w.do(opGerminate, "s", pause, annotate("resume", "true"))
		if links := w.graft.links(""); len(links) != 1 {
			t.Error("a resumed seed does not blend")
		}
		packets := w.emitted()
		w.finalize(-1)
		packets = append(packets, w.emitted()...)
		if len(events(packets, "seed_paused")) != 1 || len(events(packets, "seed_resumed")) != 1 {
			t.Error("pause and resume were not told")
		}
		w.rejects(w.command(opGerminate, "", pause), ReasonMissingSeedID)
	})
}

func TestBreakerFollowsACommand(t *testing.T) {
	force := func(state leyline.CircuitBreakerState) func(*leyline.AdaptationCommand) {
		return func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_CIRCUIT_BREAKER
			c.Payload = &leyline.AdaptationCommand_CircuitBreaker{
				CircuitBreaker: &leyline.CommandCircuitBreaker{DesiredState: state, Rationale: "drill"},
			}
		}
	}
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "", force(circuitOpen))
		w.rejects(w.command(opGerminate, "s"), ReasonBreakerOpen)
		w.do(opGerminate, "", force(circuitClosed))
		w.do(opGerminate, "s")
		w.rejects(w.command(opGerminate, "", force(0)), ReasonInvalidBreakerState)
		w.finalize(-1)
		packets := w.emitted()
		told := events(packets, "breaker_event")
		if len(told) != 2 || told[0].GetAttributes()["breaker_state"] != "CIRCUIT_STATE_OPEN" ||
			told[0].GetAttributes()["action"] != "forced" || told[0].GetAttributes()["reason"] != "drill" {
			t.Errorf("events %v", told)
		}
		if len(events(packets, "breaker_command_invalid")) != 1 {
			t.Error("the invalid state was not told")
		}
	})
}

func TestCommandsThatAreOnlyTold(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		w.do(opGerminate, "", commandOf(leyline.CommandType_COMMAND_EMERGENCY))
		w.do(opGerminate, "", func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_OPTIMIZER
			c.Payload = &leyline.AdaptationCommand_OptimizerAdjustment{
				OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{OptimizerId: "sgd"},
			}
		})
		wait(time.Second) // an emergency does not wait for a step to end
		packets := w.emitted()
		if told := events(packets, "emergency_cleanup"); len(told) != 1 || told[0].GetLevel() != levelCritical {
			t.Errorf("events %v", told)
		}
		if told := events(packets, "optimizer_adjust"); len(told) != 1 ||
			told[0].GetAttributes()["optimizer_id"] != "sgd" {
			t.Errorf("events %v", told)
		}
		w.wantStage("s", stageTraining)
	})
}

func TestMissingHostLayerFailsTheGateBeforeTraining(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s", annotate("mesh_host_layers", "weight,head"))
		w.wantStage("s", stageEmbargoed)
		packets := w.emitted()
		missing := events(packets, "mesh_coverage_missing")
		if len(missing) != 1 || missing[0].GetAttributes()["missing_layers"] != "head" {
			t.Errorf("events %v", missing)
		}
		if told := events(packets, "gate_failure"); told[0].GetAttributes()["reason"] != "mesh_incomplete" {
			t.Errorf("events %v", told)
		}
	})
}

func TestControllersAnnotationsAreEchoed(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "s", annotate("feature_coverage", "0.25"), annotate("risk_reason", "policy"))
		packets := w.emitted()
		told := events(packets, "degraded_inputs")
		if len(told) != 1 || told[0].GetLevel() != levelWarning || told[0].GetAttributes()["coverage_avg"] != "0.250" {
			t.Errorf("events %v", told)
		}
		if told := events(packets, "tamiyo_annotations"); told[0].GetAttributes()["risk_reason"] != "policy" {
			t.Errorf("events %v", told)
		}
	})
}

func TestRegistryIsBounded(t *testing.T) {
	inWorld(t, func(c *Config) { c.MaxSeeds = 2 }, func(w *world) {
		w.do(opGerminate, "a")
		w.do(opGerminate, "b")
		w.rejects(w.command(opGerminate, "c"), ReasonTooManySeeds)
	})
}
