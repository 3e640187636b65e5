package urza

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// realForge is the compiler that the service forges with.
func realForge(compiler *tezzeret.Compiler) func(context.Context, string, trainer.Variant) (Forged, error) {
	catalog := karn.NewCatalog()
	return func(ctx context.Context, id string, variant trainer.Variant) (Forged, error) {
		d, err := catalog.Get(id)
		if err != nil {
			return Forged{}, fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		compiled, err := compiler.CompileVariant(ctx, d, variant.Slot, variant.Parameters)
		if err != nil {
			return Forged{}, fmt.Errorf("%w: %w", ErrNotCompilable, err)
		}
		return Forged{compiled.Descriptor, compiled.Artifact, compiled.Update(), compiled.Extras()}, nil
	}
}

// R7 and R10: neither the shape of a layer nor the parameters of a germination ever
// reached a kernel.
func TestR10ParametersOfAGerminationReachTheKernel(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	prefetcher := NewPrefetcher(library, PrefetchConfig{
		Slot: []int{32}, Forge: realForge(tezzeret.NewCompiler(tezzeret.Config{})),
	})
	counts := map[string]int{}
	for name, variant := range map[string]trainer.Variant{
		"features":     {Slot: []int{48}},
		"sequence":     {Slot: []int{12, 32}},
		"image":        {Slot: []int{64, 7, 7}},
		"deeper image": {Slot: []int{64, 7, 7}, Parameters: map[string]float64{"depth": 4}},
		"own, shallow": {Parameters: map[string]float64{"depth": 1}},
	} {
		answer, _ := askFor(t, prefetcher, "BP009", variant.Attributes())
		ready, ok := answer.(*leyline.KernelArtifactReady)
		if !ok {
			t.Fatalf("%s: %v", name, answer)
		}
		artifact, err := os.ReadFile(ready.GetArtifactRef())
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := kernel.Load(artifact)
		if err != nil || loaded.Checksum() != ready.GetChecksum() {
			t.Fatalf("%s: %v", name, err)
		}
		want := variant.Slot
		if want == nil {
			want = []int{32}
		}
		if shape := loaded.Input().Shape; !slices.Equal(shape[1:], want) {
			t.Errorf("%s: kernel for %v, want %v", name, shape, want)
		}
		counts[name] = loaded.ParameterCount()
	}
	if counts["deeper image"] <= counts["image"] || counts["own, shallow"] >= counts["features"] {
		t.Errorf("parameters did nothing: %v", counts)
	}
}

// BenchmarkVariant is one request for a slot that was never seen, until the answer.
func BenchmarkVariant(b *testing.B) {
	for _, id := range []string{"BP002", "BP009", "BP023", "BP033"} {
		b.Run(id, func(b *testing.B) {
			library := openTest(b, testConfig(b.TempDir()))
			prefetcher := NewPrefetcher(library, PrefetchConfig{Forge: realForge(tezzeret.NewCompiler(tezzeret.Config{}))})
			var took []time.Duration
			for size := 24; b.Loop(); size++ {
				started := time.Now()
				request := &leyline.KernelPrefetchRequest{RequestId: "r", BlueprintId: id}
				answer, _, err := prefetcher.Answer(context.Background(), request, slotOf(12, 16+size%64*4+size/64))
				if _, ready := answer.(*leyline.KernelArtifactReady); !ready || err != nil {
					b.Fatal(answer, err)
				}
				took = append(took, time.Since(started))
			}
			slices.Sort(took)
			b.ReportMetric(milliseconds(took[len(took)/2]), "variant_ms")
			b.ReportMetric(milliseconds(took[len(took)*99/100]), "variant_p99_ms")
		})
	}
}

// What is asked in whatever order, a variant is answered with its own kernel, kernels
// stay within their bound, and nothing is forged that is stored.
func TestVariantsAgainstAModel(t *testing.T) {
	var runs atomic.Int64
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig(fmt.Sprintf("%s/%d", base, runs.Add(1)))
		cfg.MaxVariants = 3
		library, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer library.Close()
		databaseURLs.Store(library, cfg.DatabaseURL)
		forge := &testForge{}
		prefetcher := forging(library, forge)
		stored, withheld := map[string]bool{}, false
		save := func() {
			if _, err := library.Save(context.Background(), descriptor("BP001"), []byte("own"), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		save()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "operation") {
			case 0:
				withheld = !withheld
				change := library.Release
				if withheld {
					change = func(ctx context.Context, id string) error { return library.SetAside(ctx, id, "") }
				}
				if err := change(context.Background(), "BP001"); err != nil {
					t.Fatal(err)
				}
			case 1:
				save()
			case 2:
				mustExec(t, library, `UPDATE urza_variants SET used_at = 0`)
			default:
				askModel(t, prefetcher, forge, stored, withheld)
			}
			if len(stored) > cfg.MaxVariants {
				t.Fatalf("%d variants are kept", len(stored))
			}
		}
	})
}

// askModel asks for one of a few variants and holds the answer against the model.
func askModel(t *rapid.T, p *Prefetcher, forge *testForge, stored map[string]bool, withheld bool) {
	variant := trainer.Variant{Slot: []int{rapid.IntRange(1, 5).Draw(t, "size")}}
	made := forge.made.Load()
	request := &leyline.KernelPrefetchRequest{BlueprintId: "BP001"}
	answer, _, err := p.Answer(context.Background(), request, variant.Attributes())
	if err != nil {
		t.Fatal(err)
	}
	records, err := p.library.Variants(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	now := map[string]bool{}
	for _, record := range records {
		now[record.Variant] = true
	}
	forged := forge.made.Load() != made
	refused, _ := answer.(*leyline.KernelArtifactError)
	switch ready, _ := answer.(*leyline.KernelArtifactReady); {
	case withheld:
		if refused.GetReason() != reasonMissing || forged {
			t.Fatalf("withheld: %v, forged %t", answer, forged)
		}
	case ready != nil:
		if ready.GetChecksum() != artifact.Checksum(variantContent("BP001", variant)) || forged == stored[variant.Key()] || !now[variant.Key()] {
			t.Fatalf("%v: %v, forged %t, stored before %v, now %v", variant, answer, forged, stored, now)
		}
	case refused.GetReason() != ReasonTooManyVariants || len(stored) < 3 || stored[variant.Key()]:
		t.Fatalf("%v: %v with %v", variant, answer, stored)
	}
	clear(stored)
	maps.Copy(stored, now)
}
