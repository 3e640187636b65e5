package promotion_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kasmina/promotion"
)

// drawn are rules of which each is set or not, within what an annotation may say.
func drawn(t *rapid.T) promotion.Rules {
	count := func(name string) int { return rapid.IntRange(0, 1_000_000).Draw(t, name) }
	gain := func(name string) float64 { return rapid.Float64Range(0, 1000).Draw(t, name) }
	return promotion.Rules{
		MinTraining: count("min_training"), TrainEpochs: count("train_epochs"), Plateau: count("plateau"),
		PlateauGain: gain("plateau_gain"), MaxBlending: count("max_blending"), MinShadowing: count("min_shadowing"),
		MaxShadowing: count("max_shadowing"), MinProbation: count("min_probation"), MaxProbation: count("max_probation"),
		MinGain: gain("min_gain"), AccuracyGain: gain("accuracy_gain"), MaxRegression: gain("max_regression"), Sigma: gain("sigma"),
	}
}

func TestRulesAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawn(t)
		got, err := promotion.Read(want.Annotations())
		if err != nil || got != want {
			t.Fatalf("%+v is read as %+v, %v", want, got, err)
		}
	})
}

func TestRulesThatAreNotSetAreThoseOfWhoeverJudges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		own := drawn(t)
		own.MinTraining, own.Sigma = 0, 0
		got := promotion.Default().Over(own)
		if got.MinTraining != promotion.Default().MinTraining || got.Sigma != promotion.Default().Sigma {
			t.Fatalf("%+v over the default is %+v", own, got)
		}
		if own.Plateau > 0 && got.Plateau != own.Plateau {
			t.Fatalf("%+v over the default is %+v", own, got)
		}
	})
}

func TestStageMustLeaveASeedItsTime(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]promotion.Rules{
		"training":  {MinTraining: 13},
		"shadowing": {MinShadowing: 11},
		"probation": {MaxProbation: 1},
	} {
		if err := promotion.Default().Over(own).Check(); err == nil {
			t.Errorf("%s: %+v is taken", name, own)
		}
	}
	if err := promotion.Default().Check(); err != nil {
		t.Error(err)
	}
}

func TestAnnotationsThatAreNoRulesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"promotion_plateau", "promotion_sigma"} {
		for _, text := range []string{"0", "-1", "nan", "inf", "x", "1e12"} {
			if got, err := promotion.Read(map[string]string{name: text}); err == nil {
				t.Errorf("%s = %s is read as %+v", name, text, got)
			}
		}
	}
	if _, err := promotion.Read(map[string]string{"promotion_plateau": "1.5"}); err == nil {
		t.Error("half a report is taken")
	}
	if got, err := promotion.Read(map[string]string{"promotion_plateau": " ", "other": "x"}); err != nil || got != (promotion.Rules{}) {
		t.Errorf("nothing is read as %+v, %v", got, err)
	}
}
