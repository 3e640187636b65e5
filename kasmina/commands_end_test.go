package kasmina

import (
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
)

func TestCullAndCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.meet()
	w.plant("kept")
	w.grow("kept", lifecycle.Fossilized)
	w.do(opCull, "kept")
	w.wantStage("kept", lifecycle.Unknown)
	if got := stages(w.packets, "kept"); got[len(got)-1] != "SEED_STAGE_TERMINATED" {
		t.Errorf("told %v", got)
	}
	w.do(opGerminate, "waiting")
	w.do(opCancel, "waiting")
	w.wantStage("waiting", lifecycle.Unknown)
	w.plant("grafted")
	w.do(opCancel, "grafted")
	w.report() // the drop is read
	w.report()
	w.wantStage("grafted", lifecycle.Unknown)
	w.wantGrafted()
	w.plant("grafted")
	w.do(opCull, "grafted")
	w.do(opCancel, "grafted")
	w.report()
	w.wantStage("grafted", lifecycle.Unknown)
}

func TestRollbackTakesTheSeedOutAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	rollback := func(id string) change {
		return func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_ROLLBACK
			c.Payload = &leyline.AdaptationCommand_RollbackPayload{RollbackPayload: &structpb.Struct{
				Fields: map[string]*structpb.Value{"seed_id": structpb.NewStringValue(id)},
			}}
		}
	}
	w.meet()
	w.plant("kept")
	w.grow("kept", lifecycle.Fossilized)
	w.plant("young")
	w.rejects(w.command(0, "", rollback("")), ReasonMissingSeedID)
	w.rejects(w.command(0, "", rollback("unknown")), ReasonUnknownSeed)
	w.accepts(w.command(0, "", rollback("young")))
	w.wantStage("young", lifecycle.Embargoed)
	w.accepts(w.command(0, "", rollback("kept")))
	w.wantStage("kept", lifecycle.Unknown)
	w.report()
	w.wantGrafted()
	w.told("rollback_done")
	want := []string{"rollback:young", "rollback:kept"}
	if got := w.kinds(); !slices.Equal(got[len(got)-2:], want) {
		t.Errorf("orders %v", got)
	}
}

func TestPruningTakesTheSeedThatItNamesOut(t *testing.T) {
	t.Parallel()
	prune := ofType(leyline.CommandType_COMMAND_STRUCTURAL_PRUNING)
	tests := []struct {
		name   string
		in     leyline.SeedLifecycleStage
		stages []string // told last
		orders []string // sent for it
	}{
		{"before its kernel came", lifecycle.Germinated, []string{"SEED_STAGE_CULLED", "SEED_STAGE_EMBARGOED"}, nil},
		{"in training", lifecycle.Training, []string{"SEED_STAGE_CULLED", "SEED_STAGE_EMBARGOED"}, []string{"drop:s"}},
		{"in the output", lifecycle.Shadowing, []string{"SEED_STAGE_CULLED", "SEED_STAGE_EMBARGOED"}, []string{"drop:s"}},
		{"kept", lifecycle.Fossilized, []string{"SEED_STAGE_FOSSILIZED", "SEED_STAGE_TERMINATED"}, []string{"drop:s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
			w.meet()
			if tt.in == lifecycle.Germinated {
				w.do(opGerminate, "s")
			} else {
				w.plant("s")
				w.grow("s", tt.in)
			}
			w.orders = nil
			w.accepts(w.command(0, "s", prune))
			if got := w.kinds(); !slices.Equal(got, tt.orders) {
				t.Errorf("orders %v, want %v", got, tt.orders)
			}
			if got := stages(w.packets, "s"); !slices.Equal(got[len(got)-2:], tt.stages) {
				t.Errorf("told %v", got)
			}
			w.wantTold("rollback_ready", "pruned")
			w.report()
			w.wantGrafted()
		})
	}
}

func TestPruningIsRefusedWhereThereIsNothingToTakeOut(t *testing.T) {
	t.Parallel()
	prune := ofType(leyline.CommandType_COMMAND_STRUCTURAL_PRUNING)
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.rejects(w.command(0, "", prune), ReasonMissingSeedID)
	w.rejects(w.command(0, "unknown", prune), ReasonUnknownSeed)
	old := w.command(0, "s", prune)
	w.now = w.now.Add(time.Second)
	w.accepts(w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE), annotate("resume", "true")))
	w.accepts(old) // overtaken
	w.wantStage("s", lifecycle.Training)
}

func TestSeedsThatAnotherOnesRollbackTookAlongAreToldSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("first")
	w.plant("later")
	w.accepts(w.command(0, "first", ofType(leyline.CommandType_COMMAND_ROLLBACK)))
	w.trainer.obey(w.orders)
	w.trainer.seeds = nil
	w.report()
	if _, attributes := w.told("rollback_ready"); attributes["seed_id"] != "later" || attributes["reason"] != "rolled_back_with_another" {
		t.Errorf("event %v", attributes)
	}
	w.plant("culled")
	w.do(opCull, "culled")
	w.report()
	want := map[string]string{"first": "rolled_back", "later": "rolled_back_with_another", "culled": "retired"}
	if !maps.Equal(w.last.Gone, want) {
		t.Errorf("gone %v", w.last.Gone)
	}
}

// Whoever misses a seed asks why a report or two after its end, and many may end at once.
func TestWhyEachOfManySeedsEndedIsToldForSomeReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hurried = true
	w.meet()
	const many = 30
	for i := range many {
		w.plant("seed-" + number(i))
	}
	for i := range many {
		w.do(opCull, "seed-"+number(i))
	}
	for range 3 {
		w.report()
		if told := len(w.last.Gone); told != many || w.last.Gone["seed-0"] != "retired" {
			t.Fatalf("told of %d of %d: %v", told, many, w.last.Gone)
		}
	}
	for range endedReports {
		w.report()
	}
	if shown := NewView(w.record).Ended; len(w.record.Ended) != maxShown || len(shown) != maxShown || shown[0].Blueprint == "" {
		t.Errorf("%d are kept for good, of which %v are shown", len(w.record.Ended), shown)
	}
}
