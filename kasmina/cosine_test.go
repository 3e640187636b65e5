package kasmina

import (
	"math"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestCosineAboveItsBoundIsAViolation(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	tests := []struct {
		name     string
		bound    float64
		cosine   float32
		violates bool
	}{
		{"above", 0.5, 0.6, true},
		{"below", 0.5, 0.4, false},
		{"at it", 0.5, 0.5, false},
		{"the other way round, above", 0.5, -0.6, true},
		{"the other way round, below", 0.5, -0.4, false},
		{"no number", 0.5, nan, true},
		{"a bound close to one", 0.999, 0.9995, true},
		{"bound of one", 1, 1.0000001, false},
		{"bound of one, no number", 1, nan, false},
		{"no bound set", 0, 0.999, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.MaxGradientCosine = tt.bound })
			w.meet()
			w.plant("s")
			w.trainer.spoil = spoiled(trainer.MetricGradientCosine, tt.cosine)
			w.report()
			if got := w.record.find("s").Isolation.Failures == 1; got != tt.violates {
				t.Errorf("violates: %v, want %v", got, tt.violates)
			}
		})
	}
}

func TestCosineThatIsNotToldIsNoViolation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxGradientCosine = 0.5 })
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Probationary)
	if w.record.Violations != 0 {
		t.Errorf("%d violations", w.record.Violations)
	}
}

func TestCosineAboveItsBoundPausesASeedAndThenCullsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxGradientCosine = 0.5 })
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Blending)
	w.trainer.spoil = spoiled(trainer.MetricGradientCosine, 0.6)
	w.report()
	w.told("violation_recorded")
	w.wantTold("seed_paused", "isolation")
	w.report()
	w.wantStage("s", lifecycle.Blending)
	if !w.trainer.seeds[0].paused {
		t.Error("the seed is still in the output")
	}
	w.report()
	w.wantStage("s", lifecycle.Embargoed)
	w.wantTold("gate_failure", "gradient isolation violations present")
	w.report()
	w.wantGrafted()
}

func TestKeptSeedIsNotCulledForItsCosine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxGradientCosine, c.AutoFossilize = 0.5, true })
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Fossilized)
	w.trainer.spoil = spoiled(trainer.MetricGradientCosine, 0.6)
	for range isolationThreshold + 1 {
		w.report()
	}
	w.wantStage("s", lifecycle.Fossilized)
}
