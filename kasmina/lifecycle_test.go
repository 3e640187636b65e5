package kasmina

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

// legalMoves is the contract's table, written independently of the code's.
const legalMoves = `
UNKNOWN: DORMANT
DORMANT: GERMINATED TERMINATED
GERMINATED: TRAINING CULLED
TRAINING: BLENDING CULLED
BLENDING: SHADOWING CULLED
SHADOWING: PROBATIONARY CULLED
PROBATIONARY: FOSSILIZED CULLED
FOSSILIZED: TERMINATED
CULLED: EMBARGOED
EMBARGOED: RESETTING
RESETTING: DORMANT
TERMINATED:`

func TestLifecycleFollowsExactlyTheTable(t *testing.T) {
	t.Parallel()
	rows := strings.Split(strings.TrimSpace(legalMoves), "\n")
	if len(rows) != len(leyline.SeedLifecycleStage_name) {
		t.Fatalf("table has %d rows for %d stages", len(rows), len(leyline.SeedLifecycleStage_name))
	}
	for _, row := range rows {
		name, targets, _ := strings.Cut(row, ":")
		from := stageNamed(t, name)
		for number := range leyline.SeedLifecycleStage_name {
			to := leyline.SeedLifecycleStage(number)
			legal := slices.Contains(strings.Fields(targets), strings.TrimPrefix(to.String(), "SEED_STAGE_"))
			checkMove(t, from, to, legal)
		}
	}
}

func checkMove(t *testing.T, from, to leyline.SeedLifecycleStage, legal bool) {
	t.Helper()
	lifecycle := Lifecycle{stage: from}
	err := lifecycle.To(to)
	if legal {
		if err != nil || lifecycle.Stage() != to {
			t.Errorf("%s to %s: %v, now %s", from, to, err, lifecycle.Stage())
		}
		return
	}
	var refused *TransitionError
	if !errors.As(err, &refused) || refused.From != from || refused.To != to || lifecycle.Stage() != from {
		t.Errorf("%s to %s was not refused: %v, now %s", from, to, err, lifecycle.Stage())
	}
}

func TestNewLifecycleIsDormant(t *testing.T) {
	t.Parallel()
	lifecycle := NewLifecycle()
	if lifecycle.Stage() != stageDormant {
		t.Errorf("starts in %s", lifecycle.Stage())
	}
}

func stageNamed(t *testing.T, name string) leyline.SeedLifecycleStage {
	t.Helper()
	number, ok := leyline.SeedLifecycleStage_value["SEED_STAGE_"+name]
	if !ok {
		t.Fatalf("no stage %q", name)
	}
	return leyline.SeedLifecycleStage(number)
}
