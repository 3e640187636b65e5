package graft_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/trainer"
)

// restart saves a world and loads it in another process, as far as a test can
// have one.
func (w *world) restart(t *testing.T, host graft.Host, edit func(folder string)) *world {
	t.Helper()
	folder := t.TempDir()
	if err := w.graft.Save(folder); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(folder)
	}
	resumed := idleWorld(t, keeping(host))
	if err := resumed.graft.Load(folder); err != nil {
		t.Fatal(err)
	}
	resumed.number = w.number
	resumed.run()
	return resumed
}

// What a seed touched is given back as if the trainer had not been restarted, if
// its host can write snapshots down. Otherwise a kept seed leaves the host as it
// is, and one on trial gives back what the host was as it was loaded.
func TestGoingBackAfterAResume(t *testing.T) {
	t.Parallel()
	negativeZero := float32(math.Copysign(0, -1)) // before the kept seed
	for name, test := range map[string]struct {
		first, second       graft.Host
		edit                func(folder string)
		rolledBack, dropped float32 // the host behind each
		left                int     // seeds behind a rollback of the kept one
	}{
		"the host writes snapshots down":      {&keepingHost{}, &keepingHost{}, nil, negativeZero, 2, 1},
		"the host cannot":                     {&fakeHost{}, &fakeHost{}, nil, 4, 3, 2},
		"the host cannot any more":            {&keepingHost{}, &fakeHost{}, nil, 4, 3, 2},
		"the checkpoint is of an older graft": {&fakeHost{}, &keepingHost{}, ofVersionOne(t), 4, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for kind, want := range map[trainer.Kind]struct {
				seed string
				host float32
				left int
			}{
				trainer.Rollback: {"kept", test.rolledBack, test.left},
				trainer.Drop:     {"blending", test.dropped, 2},
			} {
				w := newWorld(t, keeping(test.first))
				numberOf(test.first).value = negativeZero
				w.plant("kept", mixing(t, 1, features), trainer.Blend{}, stageFossilized)
				numberOf(test.first).value = 2
				w.plant("blending", scaling(t, 2, features), trainer.Blend{}, stageBlending)
				w.plant("young", scaling(t, 3, features), trainer.Blend{}, stageTraining)
				resumed := w.restart(t, test.second, test.edit)
				host := numberOf(test.second)
				host.value = 3 // the program loads its own part
				resumed.graft.Apply()
				host.value = 4
				changes := resumed.send(resumed.order(kind, want.seed))
				if math.Float32bits(host.value) != math.Float32bits(want.host) || len(resumed.graft.Seeds()) != want.left {
					t.Errorf("%s: host %v, want %v; seeds %v; changes %+v", kind, host.value, want.host, resumed.graft.Seeds(), changes)
				}
			}
		})
	}
}

// numberOf is the part of a host that the tests look at.
func numberOf(host graft.Host) *fakeHost {
	if keeps, ok := host.(*keepingHost); ok {
		return &keeps.fakeHost
	}
	return host.(*fakeHost)
}

// ofVersionOne has a manifest look like one from before snapshots were saved.
func ofVersionOne(t *testing.T) func(folder string) {
	return func(folder string) {
		path := filepath.Join(folder, "grafts.json")
		manifest, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(manifest), `"before"`) {
			t.Fatalf("not as version 1 was: %s", manifest)
		}
		old := strings.Replace(string(manifest), `"version": 2`, `"version": 1`, 1)
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Kept seeds that trained on since the one that is rolled back go back too, and
// the order in which seeds joined outlasts the restart.
func TestRollbackAfterAResumeTakesKeptSeedsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("first", mixing(t, 1, features), trainer.Blend{}, stageFossilized)
	w.send(w.order(trainer.Tune, "first"))
	batch := row(1, -2, 0.5, 3)
	before := w.output(batch)
	w.plant("second", scaling(t, 2, features), trainer.Blend{}, stageFossilized)
	for _, parameter := range w.slot.Parameters("first") {
		parameter.Value.Data[0]++
	}
	resumed := w.restart(t, nil, nil)
	resumed.plant("third", scaling(t, 3, features), trainer.Blend{}, stageBlending)
	resumed.send(resumed.order(trainer.Rollback, "second"))
	if got := resumed.output(batch); !sameBits(got, before) || len(resumed.graft.Seeds()) != 1 {
		t.Errorf("output %v, want %v; seeds %v", got, before, resumed.graft.Seeds())
	}
}

func TestSnapshotThatCannotBeWrittenIsNoCheckpoint(t *testing.T) {
	t.Parallel()
	host := &keepingHost{}
	w := grown(t, keeping(host))
	host.err = errRefused
	if err := w.graft.Save(t.TempDir()); !errors.Is(err, errRefused) {
		t.Errorf("Save = %v", err)
	}
}
