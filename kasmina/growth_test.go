package kasmina

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestSeedEarnsItsPlaceByReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Probationary)
	w.report()
	w.report()
	w.do(opFossilize, "s")
	w.report()
	w.wantStage("s", lifecycle.Fossilized)
	w.report()
	want := []string{"attach:s", "blend:s", "hold:s", "judge:s", "keep:s", "tune:s"}
	if got := w.kinds(); !slices.Equal(got, want) {
		t.Errorf("orders %v, want %v", got, want)
	}
	wantStages := []string{
		"SEED_STAGE_GERMINATED", "SEED_STAGE_TRAINING", "SEED_STAGE_BLENDING",
		"SEED_STAGE_SHADOWING", "SEED_STAGE_PROBATIONARY", "SEED_STAGE_FOSSILIZED",
	}
	packets := w.emitted()
	if got := stages(packets, "s"); !slices.Equal(got, wantStages) {
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
	if len(w.record.Pending) != 0 {
		t.Errorf("orders wait for ever: %+v", w.record.Pending)
	}
}

func TestEarnedSeedIsKeptByItselfWhenAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Fossilized)
}

// An untrained kernel must not replace the host's output at once, and time alone
// must not move a seed.
func TestKernelRestsInTrainingUntilReportsEarnIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.wait(time.Hour)
	w.wantStage("s", lifecycle.Training)
	w.trainer.stepsPerReport = 5
	w.grow("s", lifecycle.Blending)
	for range 2 {
		w.report()
		w.wantStage("s", lifecycle.Blending)
	}
	w.report() // 1 + 4*5 steps: the ramp of 20 is over
	w.report()
	w.wantStage("s", lifecycle.Shadowing)
}

func TestSeedThatDoesNotEarnItsPlaceIsCulled(t *testing.T) {
	t.Parallel()
	worse := func(_ *fakeSeed, m map[string]float32) { m["loss_after"], m["accuracy_after"] = 1.2, 0.7 }
	tests := []struct {
		name   string
		stage  leyline.SeedLifecycleStage
		spoil  func(*fakeSeed, map[string]float32)
		gate   string
		reason string
	}{
		{"gradient exploded", lifecycle.Training, spoiled("gradient_norm", float32(math.Inf(1))), "G1_GRADIENT_HEALTH",
			"gradient norm not finite"},
		{"gradient too large", lifecycle.Training, spoiled("gradient_norm", 1e4), "G1_GRADIENT_HEALTH",
			"gradient norm too large"},
		{"loss exploded", lifecycle.Blending, spoiled("loss_after", float32(math.NaN())), "G2_STABILITY", "loss not finite"},
		{"forward pass fails", lifecycle.Shadowing, spoiled("forward_faults", 3), "G3_INTERFACE", "seed_forward_error"},
		{"regressed in shadow", lifecycle.Shadowing, worse, "G4_SYSTEM_IMPACT", "impact regressed"},
		{"regressed on probation", lifecycle.Probationary, worse, "G4_SYSTEM_IMPACT", "impact regressed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			w.plant("s")
			w.grow("s", tt.stage)
			w.emitted()
			w.trainer.spoil = tt.spoil
			w.report()
			w.wantStage("s", lifecycle.Embargoed)
			told := events(w.emitted(), "gate_failure")
			if len(told) != 1 || told[0].GetAttributes()["reason"] != tt.reason ||
				told[0].GetAttributes()["gate"] != "SEED_GATE_"+tt.gate {
				t.Errorf("events %v", told)
			}
			w.report()
			w.wantGrafted()
		})
	}
}

func TestSeedThatNeverBeatsTheHostIsCulledWhenItsTimeIsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.trainer.spoil = spoiled("loss_after", 1.01)
	w.plant("s")
	for range 10 {
		w.report()
		w.wantStage("s", lifecycle.Training)
	}
	w.report() // the twelfth in TRAINING
	w.wantStage("s", lifecycle.Embargoed)
	w.wantTold("gate_failure", "not better than host")
}

// After a failure a seed must come back: the embargo ends by itself, and no
// violation is carried into the next life.
func TestEmbargoEndsAndTheSeedCanGerminateAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.do(opCull, "s")
	w.rejects(w.command(opGerminate, "s"), ReasonSeedEmbargoed)
	w.report()
	w.wait(28 * time.Second)
	w.wantStage("s", lifecycle.Embargoed)
	w.wait(2 * time.Second)
	w.wantStage("s", lifecycle.Unknown)
	want := []string{
		"SEED_STAGE_GERMINATED", "SEED_STAGE_TRAINING", "SEED_STAGE_CULLED",
		"SEED_STAGE_EMBARGOED", "SEED_STAGE_RESETTING", "SEED_STAGE_DORMANT",
	}
	if got := stages(w.emitted(), "s"); !slices.Equal(got, want) {
		t.Errorf("told stages %v", got)
	}
	w.plant("s")
	w.grow("s", lifecycle.Shadowing)
}

func TestSeedsOwnRulesComeWithItsCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s", annotate("promotion_min_training", "20"), annotate("promotion_train_epochs", "25"))
	for range 18 {
		w.report()
	}
	w.wantStage("s", lifecycle.Training)
	w.report()
	w.report()
	w.wantStage("s", lifecycle.Blending)
	for _, name := range []string{"promotion_min_training", "promotion_sigma"} {
		for _, text := range []string{"0", "-1", "nan", "x", "1e12"} {
			w.rejects(w.command(opGerminate, "other", annotate(name, text)), ReasonInvalidPromotion)
		}
	}
	w.rejects(w.command(opGerminate, "other", annotate("promotion_plateau", "1.5")), ReasonInvalidPromotion)
	for _, name := range []string{"promotion_min_training", "promotion_min_shadowing", "promotion_min_probation"} {
		w.rejects(w.command(opGerminate, "other", annotate(name, "20")), ReasonInvalidPromotion) // longer than the stage may last
	}
}

func TestRulesAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	rules := map[string]promotion.Rules{
		"all": {
			MinTraining: 4, TrainEpochs: 50, Plateau: 5, PlateauGain: 1e-6, MaxBlending: 1_000_000,
			MinShadowing: 6, MaxShadowing: 60, MinProbation: 7, MaxProbation: 70,
			MinGain: 1. / 3, AccuracyGain: 0.1, MaxRegression: 1000, Sigma: 2.5,
		},
		"one count": {MinTraining: 5},
		"one gain":  {MinGain: 0.3},
	}
	for name, own := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			w.do(opGerminate, "s", func(c *leyline.AdaptationCommand) { maps.Copy(c.Annotations, own.Annotations()) })
			if got, want := *w.record.find("s").Promotion, promotion.Default().Over(own); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	if got := (promotion.Rules{Sigma: -1}).Annotations(); len(got) != 0 {
		t.Errorf("a command can set none of %v", got)
	}
}

func TestOwnRampDecidesWhenASeedHasBlended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s", annotate("alpha_schedule", "linear"), annotate("alpha_steps", "100"))
	if order := w.orders[0]; order.Schedule.Shape != trainer.ShapeLinear || order.Schedule.Steps != 100 {
		t.Errorf("attach with %+v", order.Schedule)
	}
	w.grow("s", lifecycle.Blending)
	for range 8 {
		w.report()
		w.wantStage("s", lifecycle.Blending)
	}
	w.grow("s", lifecycle.Shadowing)
	w.rejects(w.command(opGerminate, "other", annotate("alpha_schedule", "stairs")), ReasonInvalidSchedule)
}

func TestTuneComesAgainWhenALaterSeedHasEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.meet()
	w.plant("kept")
	w.grow("kept", lifecycle.Fossilized)
	w.plant("next")
	w.grow("next", lifecycle.Blending)
	w.orders = nil
	w.report()
	if slices.Contains(w.kinds(), "tune:kept") {
		t.Error("the network is tuned while a seed blends")
	}
	w.do(opCull, "next")
	w.report()
	if !slices.Contains(w.kinds(), "tune:kept") {
		t.Errorf("orders %v", w.kinds())
	}
}
