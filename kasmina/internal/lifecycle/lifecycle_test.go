package lifecycle

import (
	"github.com/esper-lite/weatherlight/leyline"
	"testing"
)

func TestScenario01_NewSeedIsDormant(t *testing.T) {
	t.Parallel()
	if err := Transition(Unknown, Dormant); err != nil {
		t.Error(err)
	}
	for to := Germinated; to <= Terminated; to++ {
		if err := Transition(Unknown, to); err == nil {
			t.Errorf("a new seed may be %s", to)
		}
	}
}

func TestScenario02_LifecycleWalksToItsEnd(t *testing.T) {
	t.Parallel()
	way := []leyline.SeedLifecycleStage{
		Dormant, Germinated, Training, Blending, Shadowing, Probationary,
		Fossilized, Terminated,
	}
	for i := 1; i < len(way); i++ {
		if err := Transition(way[i-1], way[i]); err != nil {
			t.Error(err)
		}
	}
}

func TestScenario03_LifecycleHasNoShortcut(t *testing.T) {
	t.Parallel()
	err := Transition(Dormant, Shadowing)
	if err == nil || err.Error() != "illegal seed transition SEED_STAGE_DORMANT to SEED_STAGE_SHADOWING" {
		t.Errorf("got %v", err)
	}
	legal := 0
	for from := Unknown; from <= Terminated; from++ {
		for to := Unknown; to <= Terminated; to++ {
			if Transition(from, to) == nil {
				legal++
			}
		}
	}
	if legal != 17 {
		t.Errorf("%d legal moves, the contract has 17", legal)
	}
}
