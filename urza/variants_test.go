package urza

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// testForge makes a kernel whose content tells what it is, and counts.
type testForge struct {
	made    atomic.Int64
	running atomic.Int64
	most    atomic.Int64
	hold    chan struct{} // when not nil, a forging waits for it
	err     error
	tier    func(*leyline.BlueprintDescriptor)
}

func (f *testForge) Forge(ctx context.Context, id string, variant trainer.Variant) (Forged, error) {
	f.most.Store(max(f.most.Load(), f.running.Add(1)))
	defer f.running.Add(-1)
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return Forged{}, ctx.Err()
		}
	}
	if f.err != nil {
		return Forged{}, f.err
	}
	f.made.Add(1)
	d := descriptor(id)
	if f.tier != nil {
		f.tier(d)
	}
	return Forged{
		Descriptor: d, Artifact: variantContent(id, variant),
		Update: &leyline.KernelCatalogUpdate{BlueprintId: id, GuardDigest: "guard " + variant.Key(), PrewarmMs: 7},
		Extras: map[string]any{"parameter_count": 42, "build_digest": "new"},
	}, nil
}

func variantContent(id string, variant trainer.Variant) []byte {
	return []byte("kernel of " + id + " for " + variant.Key())
}

// slotOf is a request's attributes for a slot.
func slotOf(sizes ...int) map[string]string { return trainer.Variant{Slot: sizes}.Attributes() }

// forging answers from a library whose own slot is [32].
func forging(library *Library, forge *testForge) *Prefetcher {
	return NewPrefetcher(library, PrefetchConfig{Slot: []int{32}, Forge: forge.Forge})
}

func askFor(t testing.TB, p *Prefetcher, id string, attributes map[string]string) (proto.Message, map[string]string) {
	t.Helper()
	request := &leyline.KernelPrefetchRequest{RequestId: "prefetch-" + id, BlueprintId: id, TrainingRunId: "run-1"}
	answer, told, err := p.Answer(context.Background(), request, attributes)
	if err != nil {
		t.Fatal(err)
	}
	return answer, told
}

// wantVariant checks a whole answer for a variant, and that the file is what it says.
func wantVariant(t testing.TB, p *Prefetcher, id string, variant trainer.Variant) *leyline.KernelArtifactReady {
	t.Helper()
	answer, told := askFor(t, p, id, variant.Attributes())
	stored := variant
	if len(stored.Slot) == 0 {
		stored.Slot = p.config.Slot
	}
	ready := wantReady(t, answer, artifact.Checksum(variantContent(id, stored)))
	want := variant.Attributes()
	if want == nil {
		want = map[string]string{}
	}
	want[trainer.AttributeFormat] = "onnx"
	if !maps.Equal(told, want) {
		t.Errorf("attributes %v, want %v", told, want)
	}
	if ready.GetGuardDigest() != "guard "+stored.Key() || ready.GetPrewarmP50Ms() != 7 {
		t.Errorf("answer %v", ready)
	}
	return ready
}

// A service has one shape of its own; its trainers may have layers of others.
func TestR7TrainerOfAnotherShapeGetsAKernelThatFits(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		cfg := config(t.TempDir())
		library, forge := openTest(t, cfg), &testForge{}
		prefetcher := forging(library, forge)
		own := save(t, library, "BP001", "own kernel")
		shapes := []trainer.Variant{
			{Slot: []int{64, 7, 7}}, {Slot: []int{12, 32}}, {Slot: []int{33}},
			{Slot: []int{32}, Parameters: map[string]float64{"scale": 2}},
			{Parameters: map[string]float64{"scale": 0.5}},
		}
		for _, again := range []bool{false, true} {
			for _, variant := range shapes {
				ready := wantVariant(t, prefetcher, "BP001", variant)
				if content, err := os.ReadFile(ready.GetArtifactRef()); err != nil || artifact.Checksum(content) != ready.GetChecksum() {
					t.Errorf("file of %v: %v", variant, err)
				}
			}
			if made := forge.made.Load(); made != int64(len(shapes)) {
				t.Errorf("again %t: %d kernels forged for %d variants", again, made, len(shapes))
			}
		}
		wantReady(t, ask(t, prefetcher, "BP001"), own.GetChecksum())

		// What was forged is there for another process, and after a restart.
		second := forging(openTest(t, cfg), &testForge{err: errors.New("forged again")})
		for _, variant := range shapes {
			wantVariant(t, second, "BP001", variant)
		}
		records, err := library.Variants(context.Background())
		if err != nil || len(records) != len(shapes) || records[0].Bytes == 0 || records[0].Variant == "" {
			t.Errorf("variants %v, %v", records, err)
		}
		if n, err := library.Count(context.Background()); err != nil || n != 1 {
			t.Errorf("the prototype's table has %d rows, %v", n, err)
		}
		if m := prefetcher.Stats(); m.Forged != int64(len(shapes)) || m.Refused != 0 {
			t.Errorf("metrics %v", m)
		}
	})
}

func TestVariantThatIsTheOwnKernelIsNotForged(t *testing.T) {
	library, forge := openTest(t, testConfig(t.TempDir())), &testForge{}
	prefetcher := forging(library, forge)
	own := save(t, library, "BP001", "own kernel")
	for _, variant := range []trainer.Variant{
		{}, {Slot: []int{32}},
		{Parameters: map[string]float64{"scale": 1.25}}, // the middle
		{Slot: []int{32}, Parameters: map[string]float64{"scale": 1.25}},
	} {
		answer, told := askFor(t, prefetcher, "BP001", variant.Attributes())
		wantReady(t, answer, own.GetChecksum())
		if told[trainer.AttributeFormat] != "onnx" {
			t.Errorf("%v: attributes %v", variant, told)
		}
	}
	if made := forge.made.Load(); made != 0 {
		t.Errorf("%d kernels forged", made)
	}
	// What an imported kernel was made with is what it says, not what a forge chooses.
	extras := map[string]any{"parameters": map[string]any{"scale": 2.0}}
	other, err := library.Save(context.Background(), descriptor("BP002"), []byte("imported"), nil, extras)
	if err != nil {
		t.Fatal(err)
	}
	two := trainer.Variant{Parameters: map[string]float64{"scale": 2}}
	answer, _ := askFor(t, prefetcher, "BP002", two.Attributes())
	wantReady(t, answer, other.GetChecksum())
	wantVariant(t, prefetcher, "BP002", trainer.Variant{Parameters: map[string]float64{"scale": 1.25}})
}

func TestConcurrentRequestsForTheSameVariantForgeOnce(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		library, forge := openTest(t, config(t.TempDir())), &testForge{hold: make(chan struct{})}
		prefetcher := forging(library, forge)
		var group sync.WaitGroup
		for i := range 24 {
			group.Go(func() { wantVariant(t, prefetcher, "BP001", trainer.Variant{Slot: []int{i%4 + 1}}) })
		}
		awaitForgings(t, forge, 2)
		close(forge.hold)
		group.Wait()
		if made, most := forge.made.Load(), forge.most.Load(); made != 4 || most > 2 {
			t.Errorf("%d kernels forged for 4 variants, %d at a time", made, most)
		}
	})
}

func awaitForgings(t *testing.T, forge *testForge, n int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); forge.running.Load() < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d forgings run, want %d", forge.running.Load(), n)
		}
	}
}

// Whoever asked first may give up; the others still get their kernel.
func TestImpatientRequestDoesNotTakeTheKernelFromOthers(t *testing.T) {
	library, forge := openTest(t, testConfig(t.TempDir())), &testForge{hold: make(chan struct{})}
	prefetcher := forging(library, forge)
	ctx, giveUp := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		request := &leyline.KernelPrefetchRequest{BlueprintId: "BP001"}
		if _, _, err := prefetcher.Answer(ctx, request, slotOf(7)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	awaitForgings(t, forge, 1)
	group.Go(func() { wantVariant(t, prefetcher, "BP001", trainer.Variant{Slot: []int{7}}) })
	giveUp()
	close(forge.hold)
	group.Wait()
}

func TestTwoProcessesMayForgeTheSameVariant(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		cfg := config(t.TempDir())
		var group sync.WaitGroup
		for range 3 {
			prefetcher := forging(openTest(t, cfg), &testForge{})
			for i := range 8 {
				group.Go(func() { wantVariant(t, prefetcher, "BP001", trainer.Variant{Slot: []int{i%4 + 1}}) })
			}
		}
		group.Wait()
		records, err := openTest(t, cfg).Variants(context.Background())
		if err != nil || len(records) != 4 {
			t.Errorf("%d variants, %v", len(records), err)
		}
	})
}

func TestRefusedVariants(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	save(t, library, "BP001", "own kernel")
	infrastructure := errors.New("disk full")
	for _, c := range []struct {
		name       string
		forge      error
		attributes map[string]string
		reason     string // "" is an error
	}{
		{"unknown to the forge", fmt.Errorf("karn: %w", ErrNotFound), slotOf(7), "missing_artifact"},
		{"not permitted", fmt.Errorf("%w: approval required", ErrWithheld), slotOf(7), "missing_artifact"},
		{"no such network", fmt.Errorf("%w: no time axis", ErrNotCompilable), slotOf(7), "not_compilable"},
		{"parameter out of bounds", fmt.Errorf("%w: scale is 9", ErrInvalidParameters), slotOf(7), "invalid_parameters"},
		{"failing disk", infrastructure, slotOf(7), ""},
		{"forge out of time", context.DeadlineExceeded, slotOf(7), ""},
		{"slot that is none", nil, map[string]string{"slot": "[0]"}, "invalid_slot"},
		{"slot that is no JSON", nil, map[string]string{"slot": "7x7"}, "invalid_slot"},
		{"parameters that are no numbers", nil, map[string]string{"parameters": `{"scale":"2"}`}, "invalid_parameters"},
		{"format that nobody makes", nil, map[string]string{"format": "tflite"}, "format_unavailable"},
		{"format of the prototype for a slot", nil, map[string]string{"slot": "[7]", "format": "pt"}, "format_unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			prefetcher := forging(library, &testForge{err: c.forge})
			request := &leyline.KernelPrefetchRequest{RequestId: "r", BlueprintId: "BP001"}
			answer, told, err := prefetcher.Answer(context.Background(), request, c.attributes)
			if c.reason == "" {
				if err == nil || answer != nil {
					t.Errorf("%v, %v: a request that cannot be answered now must come back", answer, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantRefused(t, answer, c.reason)
			if told[AttributeDetail] == "" || len(told[AttributeDetail]) > maxDetail {
				t.Errorf("detail %q", told[AttributeDetail])
			}
		})
	}
	t.Run("nothing forges", func(t *testing.T) {
		answer, _ := askFor(t, NewPrefetcher(library, PrefetchConfig{}), "BP001", slotOf(7))
		wantRefused(t, answer, "missing_artifact")
	})
	t.Run("forge of another blueprint", func(t *testing.T) {
		prefetcher := NewPrefetcher(library, PrefetchConfig{
			Forge: func(ctx context.Context, _ string, v trainer.Variant) (Forged, error) {
				return (&testForge{}).Forge(ctx, "BP002", v)
			},
		})
		request := &leyline.KernelPrefetchRequest{BlueprintId: "BP001"}
		if answer, _, err := prefetcher.Answer(context.Background(), request, slotOf(7)); err == nil {
			t.Error(answer)
		}
	})
}

func TestVariantsAreWithheldWithTheirBlueprint(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		ctx := context.Background()
		library, forge := openTest(t, config(t.TempDir())), &testForge{}
		prefetcher := forging(library, forge)
		save(t, library, "BP001", "own kernel")
		for _, id := range []string{"BP001", "BP002"} { // with and without a kernel of its own
			ready := wantVariant(t, prefetcher, id, trainer.Variant{Slot: []int{7}})
			made := forge.made.Load()
			if err := library.SetAside(ctx, id, "broken"); err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{7, 8} {
				answer, _ := askFor(t, prefetcher, id, slotOf(size))
				if id == "BP002" && size == 8 {
					continue // nothing of it is known before it is made
				}
				wantRefused(t, answer, "missing_artifact")
			}
			if _, _, err := library.OpenChecksum(ctx, ready.GetChecksum()); !errors.Is(err, ErrWithheld) {
				t.Errorf("opened although set aside: %v", err)
			}
			if id == "BP001" && forge.made.Load() != made {
				t.Error("forged what is withheld")
			}
			if err := library.Release(ctx, id); err != nil {
				t.Fatal(err)
			}
			wantVariant(t, prefetcher, id, trainer.Variant{Slot: []int{7}})
		}
	})
}

func TestApprovalOfAForgedKernelCoversItsVariants(t *testing.T) {
	ctx := context.Background()
	cfg := testConfig(t.TempDir())
	cfg.RequireApproval = true
	library := openTest(t, cfg)
	asks := func(d *leyline.BlueprintDescriptor) { d.ApprovalRequired = true }
	prefetcher := forging(library, &testForge{tier: asks})
	for id, extras := range map[string]map[string]any{"BP001": {"build_digest": "ours"}, "BP002": nil} {
		d := descriptor(id)
		asks(d)
		if _, err := library.Save(ctx, d, []byte("own "+id), nil, extras); err != nil {
			t.Fatal(err)
		}
		answer, _ := askFor(t, prefetcher, id, slotOf(7))
		wantRefused(t, answer, "missing_artifact")
		if err := library.Approve(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	for id, withheld := range map[string]bool{"BP001": false, "BP002": true, "BP404": true} {
		d := descriptor(id)
		asks(d)
		if err := library.WithheldVariant(ctx, d); errors.Is(err, ErrWithheld) != withheld {
			t.Errorf("%s: %v", id, err)
		}
	}
	wantVariant(t, prefetcher, "BP001", trainer.Variant{Slot: []int{7}})
	answer, _ := askFor(t, prefetcher, "BP002", slotOf(7)) // imported: says nothing of what a forge makes
	wantRefused(t, answer, "missing_artifact")
}

func TestVariantsInAnObjectStore(t *testing.T) {
	server := s3test.Start(t)
	library := openTest(t, objectConfig(server, testConfig(t.TempDir())))
	prefetcher := forging(library, &testForge{})
	for range 2 {
		ready := wantVariant(t, prefetcher, "BP001", trainer.Variant{Slot: []int{64, 7, 7}})
		if !artifact.InObjectStore(ready.GetArtifactRef()) {
			t.Errorf("artifact at %s", ready.GetArtifactRef())
		}
	}
	server.Down.Store(true)
	request := &leyline.KernelPrefetchRequest{BlueprintId: "BP001"}
	if _, _, err := prefetcher.Answer(context.Background(), request, slotOf(9)); err == nil {
		t.Error("answered while the store is away")
	}
	server.Down.Store(false)
	wantVariant(t, prefetcher, "BP001", trainer.Variant{Slot: []int{9}})
}

func TestOutdatedVariantIsForgedAnew(t *testing.T) {
	library, forge := openTest(t, testConfig(t.TempDir())), &testForge{}
	version := "new"
	prefetcher := NewPrefetcher(library, PrefetchConfig{
		Forge: forge.Forge,
		Current: func(stored *Record, _ trainer.Variant) bool {
			return stored.Extras["build_digest"] == version
		},
	})
	for range 3 {
		wantVariant(t, prefetcher, "BP001", trainer.Variant{Slot: []int{7}})
	}
	if forge.made.Load() != 1 {
		t.Errorf("forged %d times", forge.made.Load())
	}
	version = "newer"
	wantVariant(t, prefetcher, "BP001", trainer.Variant{Slot: []int{7}})
	if forge.made.Load() != 2 {
		t.Errorf("forged %d times", forge.made.Load())
	}
}
