//go:build oracle

package oracle

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// savedKernels are the files that a checkpoint has of the blueprints that are safe to
// train, after steps of training: in every slot that they fit, beside the seeds that
// live on.
func savedKernels(t *testing.T, blueprints []*comparison) []*comparison {
	t.Helper()
	bySlot := make(map[string][]*comparison)
	for _, blueprint := range blueprints {
		if blueprint.trainable {
			bySlot[blueprint.slot] = append(bySlot[blueprint.slot], blueprint)
		}
	}
	var list []*comparison
	for _, slot := range slots() {
		list = append(list, savedOf(t, bySlot[slot.String()])...)
	}
	if !slices.ContainsFunc(list, func(c *comparison) bool { return statistics(t, c.file) != nil }) {
		t.Error("no saved kernel has running statistics")
	}
	return list
}

// savedOf trains kernels of one form of slot in one graft, a slot each.
func savedOf(t *testing.T, fresh []*comparison) []*comparison {
	t.Helper()
	g, grown := newGarden(t), make(map[string]*graft.Slot)
	for _, c := range fresh {
		grown[c.name] = g.slot(c.name, exampleShape(t, c.file))
	}
	g.open()
	for _, c := range fresh {
		slot := grown[c.name]
		g.attach(c.name, c.name, c.file, trainer.Blend{Mode: trainer.Convex})
		isolated := func(tape *kernel.Tape, host kernel.Value) (kernel.Value, error) {
			return slot.Isolated(tape, c.name, host)
		}
		g.train(isolated, slot.Shape(), func() []*kernel.Parameter { return slot.Parameters(c.name) })
	}
	files := g.save()
	var list []*comparison
	for _, c := range fresh {
		mustHaveLearnt(t, c, files[c.name], grown[c.name])
		list = append(list, &comparison{
			name: "saved-" + c.name, title: c.title + ", trained and saved", slot: c.slot, file: files[c.name], examples: examples,
			// Fully in, the output of a convex blend is that of its seed.
			live: func(tape *kernel.Tape, host kernel.Value) (kernel.Value, error) {
				return grown[c.name].With(tape, c.name, host)
			},
		})
	}
	return list
}

// exampleShape is what a kernel reads of one example.
func exampleShape(t *testing.T, file []byte) []int {
	t.Helper()
	loaded, err := kernel.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Input().Shape[1:]
}

// save writes a checkpoint and reads the kernel of each seed in it.
func (g *garden) save() map[string][]byte {
	g.t.Helper()
	folder := g.t.TempDir()
	if err := g.graft.Save(folder); err != nil {
		g.t.Fatal(err)
	}
	var manifest struct {
		Seeds []struct{ ID, Weights string }
	}
	if err := json.Unmarshal(read(g.t, filepath.Join(folder, "grafts.json")), &manifest); err != nil {
		g.t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, seed := range manifest.Seeds {
		files[seed.ID] = read(g.t, filepath.Join(folder, seed.Weights+".onnx"))
	}
	return files
}

// mustHaveLearnt checks that the training left a mark: without one, a file that holds
// the kernel as it was compiled would pass.
func mustHaveLearnt(t *testing.T, fresh *comparison, saved []byte, slot *graft.Slot) {
	t.Helper()
	if len(slot.Parameters(fresh.name)) > 0 && slices.Equal(saved, fresh.file) {
		t.Errorf("%s: what was saved is what was compiled", fresh.name)
	}
	before, after := statistics(t, fresh.file), statistics(t, saved)
	for i := range before {
		if slices.Equal(before[i], after[i]) {
			t.Errorf("%s: its running statistics have not moved", fresh.name)
		}
	}
}

// statistics are the running ones of a kernel, nil when it has none.
func statistics(t *testing.T, file []byte) [][]float32 {
	t.Helper()
	loaded, err := kernel.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	var values [][]float32
	for _, statistic := range loaded.Instantiate().Statistics() {
		values = append(values, statistic.Value.Data)
	}
	return values
}
