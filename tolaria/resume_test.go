package tolaria_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tolaria"
	"github.com/esper-lite/weatherlight/trainer"
)

// saveAt trains until an epoch, saves, and ends. It returns the host as it was when
// its seed began to blend.
func saveAt(t *testing.T, config tolaria.Config, when func(tolaria.Epoch) bool, folder string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var made *tolaria.Trainer
	before := ""
	config.OnChange = func(change graft.Change) {
		if change.Kind == trainer.BlendIn {
			before = made.HostState()
		}
	}
	config.OnEpoch = func(epoch tolaria.Epoch) {
		if ctx.Err() != nil || !when(epoch) {
			return
		}
		if err := made.Save(folder); err != nil {
			t.Errorf("Save: %v", err)
		}
		cancel()
	}
	made = newTrainer(t, config)
	if _, err := made.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run = %v, want context.Canceled", err)
	}
	return before
}

func TestGoingBackAfterAResumeGivesTheHostBitByBit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		behind bool
		when   func(tolaria.Epoch) bool
		order  trainer.Kind
	}{
		"rollback of a kept seed, the whole network having trained on": {
			false, func(e tolaria.Epoch) bool { return len(e.Seeds) == 1 && e.Seeds[0].Tuned }, trainer.Rollback,
		},
		"drop of a seed whose blend the head trained along with": {
			true, func(e tolaria.Epoch) bool { return len(e.Seeds) == 1 && e.Seeds[0].Stage == stageBlending }, trainer.Drop,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder, o := t.TempDir(), newOffice(t, width, helpful)
			config := o.config()
			config.Seed, config.RunID, config.Rejections, config.TrainBehind = 1, "resumed", 1, test.behind
			before := saveAt(t, config, test.when, folder)
			config.Resume, config.Graft.TrainerID = folder, "again"
			var made *tolaria.Trainer
			trained, after := "", ""
			config.OnEpoch = func(epoch tolaria.Epoch) {
				if trained == "" {
					trained = made.HostState()
					o.order(trainer.Order{Kind: test.order, Run: "resumed", TrainerID: "again", Seed: epoch.Seeds[0].ID})
				}
			}
			config.OnChange = func(change graft.Change) {
				if change.Kind == test.order && change.To == 0 {
					after = made.HostState()
				}
			}
			made = newTrainer(t, config)
			if _, err := made.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if before == "" || trained == before || after != before {
				t.Errorf("the host before the seed, then trained, then back:\n%.300s\n%.300s\n%.300s", before, trained, after)
			}
		})
	}
}

// A snapshot of another host is found as the checkpoint is loaded, not when it is
// needed.
func TestSnapshotsOfAnotherHostAreRefused(t *testing.T) {
	t.Parallel()
	folder, o := t.TempDir(), newOffice(t, width, helpful)
	config := o.config()
	config.Seed, config.RunID = 1, "resumed"
	saveAt(t, config, func(e tolaria.Epoch) bool { return len(e.Seeds) == 1 && e.Seeds[0].Stage == stageBlending }, folder)
	for name, test := range map[string]struct {
		spoil   func(map[string]any)
		refused bool
	}{
		"as it was":         {func(map[string]any) {}, false},
		"fewer weights":     {func(m map[string]any) { m["weights"] = []any{} }, true},
		"fewer moments":     {func(m map[string]any) { m["moments"] = nil }, true},
		"no learning rate":  {func(m map[string]any) { m["rate"] = map[string]any{} }, true},
		"something instead": {func(m map[string]any) { m["weights"] = "none" }, true},
	} {
		config.Resume = t.TempDir()
		if err := os.CopyFS(config.Resume, os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		spoilSnapshot(t, config.Resume, test.spoil)
		if _, err := tolaria.NewTrainer(config); errors.Is(err, graft.ErrCheckpoint) != test.refused || !test.refused && err != nil {
			t.Errorf("%s: NewTrainer = %v", name, err)
		}
	}
}

// spoilSnapshot changes the one snapshot of a checkpoint, and its sum.
func spoilSnapshot(t *testing.T, folder string, spoil func(map[string]any)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*", "*.snapshot"))
	if err != nil || len(names) != 1 {
		t.Fatalf("snapshots %v, %v", names, err)
	}
	content, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(content, &m); err != nil {
		t.Fatal(err)
	}
	spoil(m)
	if content, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	place := filepath.Dir(names[0])
	old, fresh := strings.TrimSuffix(filepath.Base(names[0]), ".snapshot"), kernel.Checksum(content)
	list := filepath.Join(place, "grafts.json")
	manifest, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	manifest = []byte(strings.ReplaceAll(string(manifest), old, fresh))
	if err := errors.Join(os.WriteFile(list, manifest, 0o600),
		os.WriteFile(filepath.Join(place, fresh+".snapshot"), content, 0o600)); err != nil {
		t.Fatal(err)
	}
}
