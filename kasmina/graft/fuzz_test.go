package graft

import (
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
	f.Add([]byte(`{"version":2,"run":"r","seeds":[{"id":"s","slot":"trunk","checksum":"` + sum + `","weights":"` + sum +
		`","stage":"SEED_STAGE_FOSSILIZED","before":{"moment":1,"host":"` + sum + `","kept":{"t":"` + sum + `"}}}]}`))
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
			for _, name := range s.Before.files() {
				if filepath.Base(name) != name {
					t.Fatalf("seed %+v", s)
				}
			}
		}
	})
}
