package graft

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// FuzzManifest: whatever a manifest holds, it is read within bounds or refused,
// and what is read names files of its own folder only.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"version":1,"run":"run-1","trainer_id":"t","order_read":3,"seeds":[]}`))
	sum := kernel.Checksum(nil)
	f.Add([]byte(`{"version":1,"run":"r","seeds":[{"id":"s","slot":"trunk","checksum":"` + sum + `","weights":"` + sum +
		`","stage":"SEED_STAGE_BLENDING","alpha_steps":3,"blend":{"mode":"CHANNEL","channels":[1]}}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := decodeManifest(content)
		if err != nil {
			return
		}
		if len(m.Seeds) > maxSeeds {
			t.Fatalf("%d seeds", len(m.Seeds))
		}
		for _, s := range m.Seeds {
			if filepath.Base(s.Weights) != s.Weights || s.Steps < 0 || s.ID == "" {
				t.Fatalf("seed %+v", s)
			}
		}
	})
}

func TestReplacedFileIsWholeOrAbsent(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := replaceFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(filepath.Join(folder, "taken"), []byte("two")); err == nil {
		t.Error("a folder was replaced")
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
