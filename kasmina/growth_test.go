package kasmina

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestSeedWalksEveryStageToFossilized(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		w.grow("s", stageProbationary)
		for epoch := uint32(40); epoch < 42; epoch++ {
			w.observe("s", epoch, goodEvidence())
		}
		w.wantStage("s", stageProbationary)
		w.do(opFossilize, "s")
		w.wantStage("s", stageFossilized)
		w.wantAttached("s")
		want := []string{
			"SEED_STAGE_GERMINATED", "SEED_STAGE_TRAINING", "SEED_STAGE_BLENDING",
			"SEED_STAGE_SHADOWING", "SEED_STAGE_PROBATIONARY", "SEED_STAGE_FOSSILIZED",
		}
		packets := w.emitted()
		if got := stages(packets, "s"); !slices.Equal(got, want) {
			t.Errorf("told stages %v", got)
		}
		var gates []string
		for _, event := range events(packets, "gate_event") {
			gates = append(gates, event.GetAttributes()["gate"]+"="+event.GetAttributes()["passed"])
		}
		wantGates := []string{
			"SEED_GATE_G0_SANITY=true", "SEED_GATE_G3_INTERFACE=true", "SEED_GATE_G1_GRADIENT_HEALTH=true",
			"SEED_GATE_G1_GRADIENT_HEALTH=true", "SEED_GATE_G2_STABILITY=true", "SEED_GATE_G3_INTERFACE=true",
			"SEED_GATE_G4_SYSTEM_IMPACT=true", "SEED_GATE_G4_SYSTEM_IMPACT=true",
		}
		if !slices.Equal(gates, wantGates) {
			t.Errorf("gates %v", gates)
		}
	})
}

func TestEarnedSeedFossilizesByItselfWhenAsked(t *testing.T) {
	inWorld(t, func(c *Config) { c.AutoFossilize = true }, func(w *world) {
		w.plant("s")
		w.grow("s", stageFossilized)
	})
}

// An untrained kernel must not replace the host's output at once.
func TestKernelRestsInTrainingAndItsShareRamps(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		w.wantStage("s", stageTraining)
		wait(time.Hour)
		w.wantStage("s", stageTraining)
		epoch := w.grow("s", stageBlending)
		if alpha := w.graft.Seeds()[0].GetMetrics()["alpha"]; math.Abs(float64(alpha)-0.010987) > 1e-6 {
			t.Errorf("the ramp starts at %v", alpha)
		}
		w.observe("s", epoch, goodEvidence())
		w.wantStage("s", stageBlending)
		for range 19 {
			w.graft.AdvanceAlpha("s")
		}
		w.observe("s", epoch+1, goodEvidence())
		w.wantStage("s", stageShadowing)
	})
}

func TestFossilizeIsRefusedBeforeItIsEarned(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.rejects(w.command(opFossilize, "s"), ReasonUnknownSeed)
		w.plant("s")
		w.rejects(w.command(opFossilize, "s"), ReasonStageMismatch)
		epoch := w.grow("s", stageProbationary)
		w.rejects(w.command(opFossilize, "s"), ReasonNotEarned)
		w.observe("s", epoch, goodEvidence())
		w.observe("s", epoch+1, goodEvidence())
		flat := goodEvidence()
		flat["loss_after"], flat["accuracy_after"] = 1, 0.8
		w.observe("s", epoch+2, flat)
		w.rejects(w.command(opFossilize, "s"), ReasonNotEarned)
		w.wantStage("s", stageProbationary)
	})
}

func TestSeedThatDoesNotEarnItsPlaceIsCulled(t *testing.T) {
	spoiled := func(name string, value float32) map[string]float32 {
		evidence := goodEvidence()
		evidence[name] = value
		return evidence
	}
	worse := spoiled("loss_after", 1.2)
	worse["accuracy_after"] = 0.7
	tests := []struct {
		name     string
		stage    leyline.SeedLifecycleStage
		evidence map[string]float32
		gate     string
		reason   string
	}{
		{"leak while training", stageTraining, spoiled("host_gradient_max", 1e-30), "G1_GRADIENT_HEALTH",
			"gradient isolation violations present"},
		{"leak while blending", stageBlending, spoiled("host_gradient_max", float32(math.NaN())),
			"G1_GRADIENT_HEALTH", "gradient isolation violations present"},
		{"leak in shadow", stageShadowing, spoiled("host_gradient_max", 1), "G1_GRADIENT_HEALTH",
			"gradient isolation violations present"},
		{"gradient exploded", stageTraining, spoiled("gradient_norm", float32(math.Inf(1))), "G1_GRADIENT_HEALTH",
			"gradient norm not finite"},
		{"loss exploded", stageBlending, spoiled("loss_after", float32(math.NaN())), "G2_STABILITY", "loss not finite"},
		{"regressed in shadow", stageShadowing, worse, "G4_SYSTEM_IMPACT", "impact regressed"},
		{"regressed on probation", stageProbationary, worse, "G4_SYSTEM_IMPACT", "impact regressed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.plant("s")
				epoch := w.grow("s", tt.stage)
				w.wantAttached("s")
				w.emitted()
				w.observe("s", epoch, tt.evidence)
				w.wantStage("s", stageEmbargoed)
				w.wantAttached()
				told := events(w.emitted(), "gate_failure")
				if len(told) != 1 || told[0].GetAttributes()["reason"] != tt.reason ||
					told[0].GetAttributes()["gate"] != "SEED_GATE_"+tt.gate {
					t.Errorf("events %v", told)
				}
			})
		})
	}
}

func TestSeedThatNeverBeatsTheHostIsCulledWhenItsTimeIsUp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		evidence := goodEvidence()
		evidence["loss_after"] = 1.01
		for epoch := uint32(1); epoch <= 12; epoch++ {
			w.wantStage("s", stageTraining)
			evidence["train_loss"] = 1 / float32(epoch)
			w.observe("s", epoch, evidence)
		}
		w.wantStage("s", stageEmbargoed)
		if told := events(w.emitted(), "gate_failure"); told[0].GetAttributes()["reason"] != "not better than host" {
			t.Errorf("events %v", told)
		}
	})
}

// After a failure a seed must come back: the embargo ends by itself, and no
// violation is carried into the next life.
func TestEmbargoEndsAndTheSeedCanGerminateAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		leak := goodEvidence()
		leak["host_gradient_max"] = 1
		w.observe("s", 1, leak)
		w.rejects(w.command(opGerminate, "s"), ReasonSeedEmbargoed)
		wait(29 * time.Second)
		w.wantStage("s", stageEmbargoed)
		wait(2 * time.Second)
		w.wantStage("s", stageUnknown)
		want := []string{
			"SEED_STAGE_GERMINATED", "SEED_STAGE_TRAINING", "SEED_STAGE_CULLED",
			"SEED_STAGE_EMBARGOED", "SEED_STAGE_RESETTING", "SEED_STAGE_DORMANT",
		}
		if got := stages(w.emitted(), "s"); !slices.Equal(got, want) {
			t.Errorf("told stages %v", got)
		}
		w.plant("s")
		w.grow("s", stageShadowing)
	})
}

func TestObservationsCountOncePerEpoch(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		for range 20 {
			w.observe("s", 5, goodEvidence())
		}
		if age := w.manager.SeedStates()[0].GetAgeEpochs(); age != 1 {
			t.Errorf("age %d", age)
		}
		if err := w.manager.Observe(w.ctx, 4, "s", goodEvidence()); err == nil {
			t.Error("an epoch went back")
		}
		if err := w.manager.Observe(w.ctx, 4, "unknown", goodEvidence()); !errors.Is(err, ErrUnknownSeed) {
			t.Errorf("an unknown seed was observed: %v", err)
		}
	})
}

func TestTrainerThatHasNotHeardOfACullGoesOn(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		w.do(opCull, "s")
		w.observe("s", 1, goodEvidence())
		if share := w.graft.AdvanceAlpha("s"); share != 0 || w.graft.Parameters("s") != nil {
			t.Errorf("a culled seed has share %v", share)
		}
	})
}

func TestMissingEvidenceEarnsNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		w.observe("s", 1, nil)
		w.wantStage("s", stageEmbargoed)
	})
}

func TestNewHostTakesThePlaceOfTheOld(t *testing.T) {
	inWorld(t, func(c *Config) { c.AutoFossilize = true }, func(w *world) {
		w.plant("kept")
		w.grow("kept", stageFossilized)
		w.plant("young")
		old := w.graft
		w.graft = NewGraft([]string{"weight"}, testFeatures)
		if err := w.manager.RegisterHost(w.ctx, w.graft); err != nil {
			t.Fatal(err)
		}
		w.wantStage("kept", stageUnknown)
		w.wantStage("young", stageEmbargoed)
		if len(old.Seeds()) != 0 {
			t.Error("the old host still has seeds")
		}
		w.plant("next")
		w.wantAttached("next")
	})
}
