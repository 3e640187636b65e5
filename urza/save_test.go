package urza

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

func TestSavedRecordComesBack(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		ctx := context.Background()
		cfg := testConfig(t.TempDir())
		update := &leyline.KernelCatalogUpdate{
			BlueprintId: "BP002", ArtifactRef: "build/BP002.onnx", GuardDigest: "digest", CompileMs: 1.5, PrewarmMs: 0.1,
		}
		want := proto.CloneOf(update)
		want.Checksum = artifact.Checksum([]byte("kernel"))
		want.ArtifactRef = filepath.Join(cfg.ArtifactDir, want.GetChecksum()+".onnx")
		extras := map[string]any{"tags": []string{"a"}}
		saved, err := openTest(t, cfg).Save(ctx, descriptor("BP002"), []byte("kernel"), update, extras)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, saved, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}

		record, err := openTest(t, cfg).Get(ctx, "BP002")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(descriptor("BP002"), record.Descriptor, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		got := []any{record.ArtifactRef, record.Checksum, record.GuardDigest, record.Bytes, record.CompileMs, record.PrewarmMs}
		expected := []any{want.GetArtifactRef(), want.GetChecksum(), "digest", int64(6), 1.5, float64(float32(0.1))}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Error(diff)
		}
		if info, err := os.Stat(record.ArtifactRef); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%v, %v: another user's trainer must be able to read it", info, err)
		}
	})
}

func TestSaveRefusesWhatCannotBeServed(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		oddTier := descriptor("BP001")
		oddTier.Tier = 99
		tests := []struct {
			fault      string
			descriptor *leyline.BlueprintDescriptor
			artifact   string
			update     *leyline.KernelCatalogUpdate
			extras     map[string]any
		}{
			{fault: "without blueprint id", artifact: "kernel"},
			{fault: "without blueprint id", descriptor: &leyline.BlueprintDescriptor{}, artifact: "kernel"},
			{fault: "empty artifact", descriptor: descriptor("BP001")},
			{fault: "unknown tier 99", descriptor: oddTier, artifact: "kernel"},
			{fault: `for blueprint "BP002"`, descriptor: descriptor("BP001"), artifact: "kernel",
				update: &leyline.KernelCatalogUpdate{BlueprintId: "BP002"}},
			{fault: "extras", descriptor: descriptor("BP001"), artifact: "kernel", extras: map[string]any{"f": func() {}}},
		}
		for _, test := range tests {
			_, err := library.Save(context.Background(), test.descriptor, []byte(test.artifact), test.update, test.extras)
			if err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("got %v, want %q", err, test.fault)
			}
		}
		if records, err := library.List(context.Background()); err != nil || len(records) != 0 {
			t.Errorf("%v, %v", records, err)
		}
	})
}

func TestLastTwentyPrewarmSamplesAreKept(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		ctx := context.Background()
		library := openTest(t, testConfig(t.TempDir()))
		for i := range 25 {
			update := &leyline.KernelCatalogUpdate{PrewarmMs: float32(i + 1)}
			if _, err := library.Save(ctx, descriptor("BP001"), []byte("kernel"), update, nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := library.Save(ctx, descriptor("BP001"), []byte("kernel"), nil, nil); err != nil { // not measured
			t.Fatal(err)
		}
		record, err := library.Get(ctx, "BP001")
		if err != nil || len(record.PrewarmSamples) != 20 || record.PrewarmSamples[0] != 6 || record.PrewarmSamples[19] != 25 {
			t.Fatalf("%v, %v", record.PrewarmSamples, err)
		}
		ready := wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), record.Checksum)
		if ready.GetPrewarmP50Ms() != 15.5 || ready.GetPrewarmP95Ms() != 24.05 {
			t.Errorf("percentiles: %v", ready)
		}
		measured := map[string]any{"prewarm_samples": []float64{100, 200}}
		update := &leyline.KernelCatalogUpdate{PrewarmMs: 150}
		if _, err := library.Save(ctx, descriptor("BP001"), []byte("kernel"), update, measured); err != nil {
			t.Fatal(err)
		}
		record, err = library.Get(ctx, "BP001")
		if err != nil || !cmp.Equal(record.PrewarmSamples[17:], []float64{25, 100, 200}) {
			t.Errorf("%v, %v", record.PrewarmSamples, err)
		}
	})
}

func TestCallersCannotChangeWhatIsInMemory(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		ctx := context.Background()
		library := openTest(t, testConfig(t.TempDir()))
		saveWithGraph(t, library, "BP001", map[string]any{"layers": []any{map[string]any{"id": "L0"}}})
		first, err := library.Get(ctx, "BP001")
		if err != nil {
			t.Fatal(err)
		}
		first.Descriptor.Name = "changed"
		first.Extras["graph_metadata"].(map[string]any)["layers"].([]any)[0].(map[string]any)["id"] = "changed"
		first.Extras["checksum"] = "changed"
		second, err := library.Get(ctx, "BP001")
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(second.Extras)
		if err != nil || strings.Contains(string(text), "changed") || second.Descriptor.GetName() == "changed" {
			t.Errorf("%s, %v", text, err)
		}
	})
}

func TestMemoryIsRevalidatedWithinItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t.TempDir())
		cfg.Revalidate = 10 * time.Millisecond
		var libraries [2]*Library
		for i := range libraries {
			library, err := Open(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer library.Close()
			libraries[i] = library
		}
		save(t, libraries[1], "BP001", "old")
		prefetcher := NewPrefetcher(libraries[0], PrefetchConfig{})
		ask(t, prefetcher, "BP001")
		saved := save(t, libraries[1], "BP001", "new")
		mine := save(t, libraries[0], "BP002", "mine")
		wantReady(t, ask(t, prefetcher, "BP002"), mine.GetChecksum()) // one's own at once
		time.Sleep(20 * time.Millisecond)
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		hits := libraries[0].Stats().Memory.Hits
		ask(t, prefetcher, "BP001")
		ask(t, prefetcher, "BP001")
		if now := libraries[0].Stats().Memory.Hits; now != hits+2 {
			t.Errorf("not answered from memory: %v, then %v", hits, now)
		}
	})
}
