package tolaria_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tolaria"
)

// stopAt saves a trainer's checkpoint at an epoch and ends its run.
func stopAt(t *testing.T, config tolaria.Config, when func(tolaria.Epoch) bool, folder string) tolaria.Epoch {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var made *tolaria.Trainer
	var last tolaria.Epoch
	settle := config.Settle
	config.OnEpoch = func(epoch tolaria.Epoch) { last = epoch }
	config.Settle = func(ctx context.Context, report uint64, g *graft.Graft) error {
		if settle != nil {
			if err := settle(ctx, report, g); err != nil {
				return err
			}
		}
		if when(last) {
			if err := made.Save(folder); err != nil {
				t.Errorf("Save: %v", err)
			}
			cancel()
		}
		return nil
	}
	made = newTrainer(t, config)
	if _, err := made.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run = %v, want context.Canceled", err)
	}
	return last
}

func TestResumedRunGoesOnAsIfItHadNotStopped(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	config := tolaria.Config{Seed: 2, RunID: "resumed", MaxEpochs: 12}
	whole := run(t, config)
	stopAt(t, config, func(e tolaria.Epoch) bool { return e.Number == 3 || e.Number == 7 }, folder)
	config.Resume = folder
	rest := run(t, config)
	if rest.GrownAccuracy != whole.GrownAccuracy || !slices.Equal(rest.Rates, whole.Rates) {
		t.Errorf("came to %v in %d steps, without a stop to %v in %d",
			rest.GrownAccuracy, len(rest.Rates), whole.GrownAccuracy, len(whole.Rates))
	}
	if first := rest.Epochs[0]; first.Number != 4 || first.Loss != whole.Epochs[3].Loss {
		t.Errorf("went on with epoch %d and loss %v, want 4 and %v", first.Number, first.Loss, whole.Epochs[3].Loss)
	}
}

func TestResumedRunKeepsItsSeeds(t *testing.T) {
	t.Parallel()
	for name, stage := range map[string]leyline.SeedLifecycleStage{
		"growing": stageTraining, "on trial": stageProbationary, "kept": leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder, o := t.TempDir(), newOffice(t, width, helpful)
			config := o.config()
			config.Seed, config.RunID, config.Rejections = 1, "resumed", 1
			last := stopAt(t, config, func(e tolaria.Epoch) bool {
				return len(e.Seeds) == 1 && e.Seeds[0].Stage == stage
			}, folder)
			config.Resume = folder
			result := run(t, config)
			first := result.Epochs[0]
			if first.Number != last.Number+1 || len(first.Seeds) != 1 || first.Seeds[0].ID != last.Seeds[0].ID {
				t.Errorf("went on with epoch %d and seeds %+v after epoch %d with %+v", first.Number, first.Seeds, last.Number, last.Seeds)
			}
			if result.Kept == 0 || result.GrownParameters <= result.HostParameters || result.HostAccuracy == 0 || !result.HostUnchanged {
				t.Errorf("came to %+v", result)
			}
		})
	}
}

func TestSaveLeavesOneCheckpoint(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var made *tolaria.Trainer
	config := tolaria.Config{MaxEpochs: 3, OnEpoch: func(tolaria.Epoch) {
		if err := made.Save(folder); err != nil {
			t.Errorf("Save: %v", err)
		}
	}}
	made = newTrainer(t, config)
	if _, err := made.Run(t.Context()); err != nil {
		t.Fatalf("Run: %v", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func TestForeignAndBrokenCheckpointsAreRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	config := tolaria.Config{RunID: "mine", MaxEpochs: 2}
	made := newTrainer(t, config)
	if err := made.Save(folder); err != nil {
		t.Fatalf("Save: %v", err)
	}
	path := filepath.Join(folder, "trainer.json")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config tolaria.Config
		spoil  func(map[string]any)
	}{
		"another run":         {tolaria.Config{RunID: "another"}, nil},
		"another seed":        {tolaria.Config{RunID: "mine", Seed: 2}, nil},
		"another slot":        {tolaria.Config{RunID: "mine", Slot: []int{4, 4}}, nil},
		"another version":     {config, func(m map[string]any) { m["version"] = 1 }},
		"fewer weights":       {config, func(m map[string]any) { m["weights"] = []any{} }},
		"no moments":          {config, func(m map[string]any) { m["moments"] = []any{} }},
		"a broken stream":     {config, func(m map[string]any) { m["order"] = "AAAA" }},
		"a count below 0":     {config, func(m map[string]any) { m["epochs"] = -1 }},
		"no learning rate":    {config, func(m map[string]any) { m["seed_rate"] = 0 }},
		"seeds somewhere":     {config, func(m map[string]any) { m["seeds"] = "seeds-/../../x" }},
		"seeds that are gone": {config, func(m map[string]any) { m["seeds"] = "seeds-9" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := t.TempDir()
			if err := os.CopyFS(other, os.DirFS(folder)); err != nil {
				t.Fatal(err)
			}
			if test.spoil != nil {
				var m map[string]any
				if err := json.Unmarshal(content, &m); err != nil {
					t.Fatal(err)
				}
				test.spoil(m)
				spoilt, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(other, "trainer.json"), spoilt, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			test.config.Resume = other
			if _, err := tolaria.NewTrainer(test.config); !errors.Is(err, tolaria.ErrCheckpoint) && !errors.Is(err, graft.ErrCheckpoint) {
				t.Errorf("NewTrainer = %v", err)
			}
		})
	}
	config.Resume = t.TempDir()
	if _, err := tolaria.NewTrainer(config); !errors.Is(err, tolaria.ErrCheckpoint) {
		t.Errorf("an empty folder: %v", err)
	}
}
