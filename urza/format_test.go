package urza

import (
	"context"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

func TestR6SeedIsToldTheFormatAndNeverGetsOneThatItCannotRead(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		library, forge := openTest(t, config(t.TempDir())), &testForge{}
		update := &leyline.KernelCatalogUpdate{ArtifactRef: "x/BP001.pt"}
		pickled, err := library.Save(context.Background(), descriptor("BP001"), []byte("pickled"), update, nil)
		if err != nil {
			t.Fatal(err)
		}
		ours := save(t, library, "BP002", "onnx")
		wants := func(format string) map[string]string { return map[string]string{trainer.AttributeFormat: format} }
		stored := NewPrefetcher(library, PrefetchConfig{Slot: []int{32}})
		for _, c := range []struct {
			name, id, asks, sum, told, reason string
			prefetcher                        *Prefetcher
		}{
			{"no wish, artifact of the prototype", "BP001", "", pickled.GetChecksum(), "pt", "", stored},
			{"no wish, ours", "BP002", "", ours.GetChecksum(), "onnx", "", stored},
			{"prototype's seed, artifact of the prototype", "BP001", "pt", pickled.GetChecksum(), "pt", "", stored},
			{"prototype's seed, ours", "BP002", "pt", "", "", "format_unavailable", stored},
			{"graft, artifact of the prototype", "BP001", "onnx", "", "", "format_unavailable", stored},
			{"graft, artifact of the prototype, forge", "BP001", "onnx",
				artifact.Checksum(variantContent("BP001", trainer.Variant{Slot: []int{32}})), "onnx", "", forging(library, forge)},
			{"graft, ours", "BP002", "onnx", ours.GetChecksum(), "onnx", "", stored},
		} {
			t.Run(c.name, func(t *testing.T) {
				answer, told := askFor(t, c.prefetcher, c.id, wants(c.asks))
				if c.reason != "" {
					wantRefused(t, answer, c.reason)
					return
				}
				wantReady(t, answer, c.sum)
				if told[trainer.AttributeFormat] != c.told {
					t.Errorf("format %q, want %q", told[trainer.AttributeFormat], c.told)
				}
			})
		}
	})
}

// Such is a deployment of the prototype's seeds alone.
func TestR6LibraryOfPicklesOnlyForgesNothing(t *testing.T) {
	library, forge := openTest(t, testConfig(t.TempDir())), &testForge{}
	prefetcher := NewPrefetcher(library, PrefetchConfig{Slot: []int{32}, Forge: forge.Forge, Format: FormatPrototype})
	update := &leyline.KernelCatalogUpdate{ArtifactRef: "BP001.pt"}
	pickled, err := library.Save(context.Background(), descriptor("BP001"), []byte("pickled"), update, nil)
	if err != nil {
		t.Fatal(err)
	}
	save(t, library, "BP002", "onnx")
	wantReady(t, ask(t, prefetcher, "BP001"), pickled.GetChecksum())
	for _, attributes := range []map[string]string{nil, slotOf(7), {"format": "onnx"}} {
		answer, _ := askFor(t, prefetcher, "BP002", attributes)
		wantRefused(t, answer, "format_unavailable")
	}
	if made := forge.made.Load(); made != 0 {
		t.Errorf("%d kernels forged", made)
	}
}
