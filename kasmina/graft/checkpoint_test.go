package graft_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// grown is a world with a kept seed that was tuned, one that blends, and one
// that learns.
func grown(t *testing.T, change func(*graft.Config)) *world {
	t.Helper()
	w := newWorld(t, change)
	w.plant("kept", mixing(t, 1, features), trainer.Blend{Mode: trainer.Residual}, stageFossilized)
	w.send(w.order(trainer.Tune, "kept"))
	w.plant("blending", scaling(t, 2, features), trainer.Blend{Mode: trainer.Channel, Channels: []float32{0, 0.5, 1, 1}}, stageBlending)
	w.plant("young", scaling(t, 3, features), trainer.Blend{}, stageTraining)
	w.graft.Step()
	for i := range w.slot.Parameters("kept")[0].Value.Data {
		w.slot.Parameters("kept")[0].Value.Data[i] += 0.25
	}
	return w
}

func TestResumedProcessHasTheSameSeedsBitByBit(t *testing.T) {
	t.Parallel()
	w := grown(t, nil)
	folder := filepath.Join(t.TempDir(), "checkpoint")
	if err := w.graft.Save(folder); err != nil {
		t.Fatal(err)
	}
	resumed := idleWorld(t, nil)
	if err := resumed.graft.Load(folder); err != nil {
		t.Fatal(err)
	}
	resumed.run()
	if got, want := resumed.graft.Seeds(), w.graft.Seeds(); !slices.Equal(got, want) {
		t.Errorf("seeds %+v, want %+v", got, want)
	}
	batch := row(1, -2, 0.5, 3)
	if got, want := resumed.output(batch), w.output(batch); !sameBits(got, want) {
		t.Errorf("output %v, want %v", got, want)
	}
	before, after := w.report(nil), resumed.report(nil)
	if after.report.Resumes != w.graft.TrainerID() || after.report.OrderRead != w.number ||
		len(after.report.Grafts) != 3 || after.report.Grafts["kept"] != before.report.Grafts["kept"] {
		t.Errorf("report %+v", after.report)
	}
	if a, b := before.seed("blending").GetMetrics(), after.seed("blending").GetMetrics(); a[trainer.MetricAlphaSteps] != 2 ||
		b[trainer.MetricAlphaSteps] != 2 || a[trainer.MetricOrder] != b[trainer.MetricOrder] {
		t.Errorf("metrics %v, then %v", a, b)
	}
	resumed.number = w.number
	resumed.send(resumed.order(trainer.Hold, "blending"))
	resumed.wantStage("blending", stageShadowing)
}

func TestCheckpointReplacesTheOneBefore(t *testing.T) {
	t.Parallel()
	w := grown(t, nil)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "host.onnx"), []byte("the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.graft.Save(folder); err != nil {
			t.Fatal(err)
		}
		w.slot.Parameters("young")[0].Value.Data[0]++
	}
	for _, gone := range []struct {
		seed string
		left int
	}{
		{"young", 5}, // the host's, two kernels, the manifest, and the kept seed as it was when the other joined
		{"blending", 3},
	} {
		w.send(w.order(trainer.Drop, gone.seed))
		if err := w.graft.Save(folder); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil || len(entries) != gone.left {
			t.Errorf("without %s: %v, %v", gone.seed, entries, err)
		}
	}
}

func TestSpoiltCheckpointIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	w := grown(t, keeping(&keepingHost{}))
	saved := t.TempDir()
	if err := w.graft.Save(saved); err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(saved, "grafts.json"))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, fresh string) func(string) error {
		return func(folder string) error {
			text := strings.Replace(string(manifest), old, fresh, 1)
			return os.WriteFile(filepath.Join(folder, "grafts.json"), []byte(text), 0o600)
		}
	}
	for name, spoil := range map[string]func(folder string) error{
		"no manifest":   func(folder string) error { return os.Remove(filepath.Join(folder, "grafts.json")) },
		"no JSON":       edit("{", "["),
		"version":       edit(`"version": 2`, `"version": 3`),
		"another run":   edit(`"run-1"`, `"run-2"`),
		"another slot":  edit(`"slot": "trunk"`, `"slot": "elsewhere"`),
		"stage":         edit("SEED_STAGE_TRAINING", "SEED_STAGE_CULLED"),
		"twice":         edit(`"id": "young"`, `"id": "kept"`),
		"no name":       edit(`"id": "young"`, `"id": ""`),
		"blend":         edit(`"CHANNEL"`, `"LINEAR"`),
		"steps":         edit(`"alpha_steps": 0`, `"alpha_steps": -1`),
		"no checksum":   edit(`"weights": "`, `"weights": "../`),
		"flipped bytes": flip("*.onnx"),

		"flipped snapshot":        flip("*.snapshot"),
		"no checksum of the host": edit(`"host": "`, `"host": "../`),
		"no checksum of weights":  edit(`"kept": "`, `"kept": "../`),
		"weights of nobody":       edit(`"kept": "`, `"nobody": "`),
		"weights of another size": edit(keptSum(t, manifest), kernel.Checksum(make([]byte, 4))),
		"no snapshot of the host": edit(kernel.Checksum(make([]byte, 4)), keptSum(t, manifest)),
	} {
		folder := t.TempDir()
		if err := os.CopyFS(folder, os.DirFS(saved)); err != nil {
			t.Fatal(err)
		}
		if err := spoil(folder); err != nil {
			t.Fatal(err)
		}
		resumed := idleWorld(t, keeping(&keepingHost{}))
		if err := resumed.graft.Load(folder); !errors.Is(err, graft.ErrCheckpoint) || len(resumed.graft.Seeds()) != 0 {
			t.Errorf("%s: %v, seeds %v", name, err, resumed.graft.Seeds())
		}
	}
}

// keptSum is under what name the manifest has the weights of the seed "kept".
func keptSum(t *testing.T, manifest []byte) string {
	t.Helper()
	found := regexp.MustCompile(`"kept": "([0-9a-f]{64})"`).FindSubmatch(manifest)
	if found == nil {
		t.Fatalf("no weights of the kept seed in %s", manifest)
	}
	return string(found[1])
}

// flip spoils one bit of the first file of a pattern.
func flip(pattern string) func(folder string) error {
	return func(folder string) error {
		names, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(names) == 0 {
			return fmt.Errorf("nothing to spoil: %w", err)
		}
		content, err := os.ReadFile(names[0])
		if err != nil {
			return err
		}
		content[len(content)/2] ^= 1
		return os.WriteFile(names[0], content, 0o600)
	}
}

func TestSeedThatIsNotFiniteIsNotSaved(t *testing.T) {
	t.Parallel()
	w := grown(t, nil)
	folder := t.TempDir()
	if err := w.graft.Save(folder); err != nil {
		t.Fatal(err)
	}
	zero := float32(0)
	w.slot.Parameters("young")[0].Value.Data[0] = 1 / zero
	if err := w.graft.Save(folder); !errors.Is(err, kernel.ErrProfile) {
		t.Errorf("got %v", err)
	}
	if err := idleWorld(t, nil).graft.Load(folder); err != nil {
		t.Errorf("the checkpoint before is gone: %v", err)
	}
}
