package urza

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

func TestFlippedBitIsQuarantinedAndTheRowStays(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		ctx := context.Background()
		dir := t.TempDir()
		library := openTest(t, testConfig(dir))
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		saved := save(t, library, "BP001", "a good kernel")
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())

		flipBit(t, saved.GetArtifactRef())
		for range 3 { // and it stays refused
			wantRefused(t, ask(t, prefetcher, "BP001"), "checksum_mismatch")
		}
		if has(t, library, "BP001") {
			t.Error("a damaged kernel counts as present: the forge would never heal it")
		}
		record, err := library.Get(ctx, "BP001")
		if err != nil || record.Checksum != saved.GetChecksum() || record.Bytes != 0 {
			t.Errorf("the row changed: %+v, %v", record, err)
		}
		evidence, err := os.ReadDir(filepath.Join(dir, "artifacts", "quarantine"))
		if err != nil || len(evidence) != 1 {
			t.Errorf("evidence: %v, %v", evidence, err)
		}
		report, err := library.Maintain(ctx)
		if err != nil || len(report.Quarantined) != 1 || len(report.Missing) != 0 {
			t.Errorf("maintenance: %+v, %v", report, err)
		}
		if m := library.Stats(); m.Damaged != 1 || m.Quarantined != 1 {
			t.Errorf("metrics: %v", m)
		}

		save(t, library, "BP001", "a good kernel")
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		if !has(t, library, "BP001") {
			t.Error("not healed")
		}
	})
}

func TestQuarantineSurvivesARestart(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		first := openTest(t, cfg)
		saved := save(t, first, "BP001", "kernel")
		flipBit(t, saved.GetArtifactRef())
		wantRefused(t, ask(t, NewPrefetcher(first, PrefetchConfig{}), "BP001"), "checksum_mismatch")

		second := openTest(t, cfg)
		wantRefused(t, ask(t, NewPrefetcher(second, PrefetchConfig{}), "BP001"), "checksum_mismatch")
		if has(t, second, "BP001") {
			t.Error("present after a restart")
		}
	})
}

func TestRestoredFileIsServedAgain(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		saved := save(t, library, "BP001", "kernel")
		flipBit(t, saved.GetArtifactRef())
		wantRefused(t, ask(t, prefetcher, "BP001"), "checksum_mismatch")
		if err := os.WriteFile(saved.GetArtifactRef(), []byte("kernel"), 0o644); err != nil {
			t.Fatal(err)
		}
		if !has(t, library, "BP001") {
			t.Error("not present")
		}
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
	})
}

func TestSharedFileSharesItsFate(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		saved := save(t, library, "BP001", "same bytes")
		save(t, library, "BP002", "same bytes")
		flipBit(t, saved.GetArtifactRef())
		wantRefused(t, ask(t, prefetcher, "BP001"), "checksum_mismatch")
		wantRefused(t, ask(t, prefetcher, "BP002"), "checksum_mismatch")
		save(t, library, "BP002", "same bytes")
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		wantReady(t, ask(t, prefetcher, "BP002"), saved.GetChecksum())
	})
}

// A row may point anywhere; what is not the library's is never moved.
func TestForeignFileIsRefusedButNotMoved(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		foreign := filepath.Join(t.TempDir(), "thesis.tex")
		if err := os.WriteFile(foreign, []byte("years of work"), 0o644); err != nil {
			t.Fatal(err)
		}
		save(t, library, "BP001", "kernel")
		mustExec(t, library, `UPDATE blueprints SET artifact_path = $1`, foreign)
		for range 3 {
			wantRefused(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), "checksum_mismatch")
		}
		if _, err := os.Stat(foreign); err != nil {
			t.Error(err)
		}
		if has(t, library, "BP001") {
			t.Error("present")
		}
	})
}

func TestMissingFileIsNotFound(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		saved := save(t, library, "BP001", "kernel")
		if err := os.Remove(saved.GetArtifactRef()); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "artifact_not_found")
		if has(t, library, "BP001") {
			t.Error("present without a file: the forge would never heal it")
		}
		report, err := library.Maintain(context.Background())
		if err != nil || len(report.Missing) != 1 || report.Rows != 1 {
			t.Errorf("maintenance: %+v, %v", report, err)
		}
		if _, err := library.Get(context.Background(), "BP001"); err != nil {
			t.Errorf("maintenance deleted the row: %v", err)
		}
		if m := prefetcher.Stats(); m.Errors != 1 || m.Hits != 0 || m.Misses != 0 {
			t.Errorf("metrics: %v", m)
		}
	})
}

func TestUnknownBlueprintIsAMiss(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		prefetcher := NewPrefetcher(openTest(t, testConfig(t.TempDir())), PrefetchConfig{})
		wantRefused(t, ask(t, prefetcher, "BP404"), "missing_artifact")
		wantRefused(t, ask(t, prefetcher, ""), "missing_artifact")
		if answer, _, err := prefetcher.Answer(context.Background(), nil, nil); err != nil || answer == nil {
			t.Errorf("empty request: %v, %v", answer, err)
		}
		if m := prefetcher.Stats(); m.Misses != 3 || m.Errors != 0 {
			t.Errorf("metrics: %v", m)
		}
	})
}

// settledFile waits until the file system's clock would show another change; the
// verdict about a file is only remembered after that.
func settledFile(t testing.TB, path string) {
	t.Helper()
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil { // moves the change time to now
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for file, err := (artifact.Disk{}).Identify(path); err != nil || !file.Settled(time.Now()); file, err = (artifact.Disk{}).Identify(path) {
		if time.Now().After(deadline) {
			t.Fatal("file times never settle")
		}
	}
}

func TestHotRequestReadsNoFile(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		saved := save(t, library, "BP001", "kernel")
		settledFile(t, saved.GetArtifactRef())
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		e, err := library.lookup.entry(context.Background(), catalogue.Key{ID: "BP001"})
		if err != nil || library.verifier.known(context.Background(), e) == nil {
			t.Fatalf("nothing remembered about the file: %v", err)
		}
		// A remembered verdict is about one state of the file only.
		content, err := os.ReadFile(saved.GetArtifactRef())
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(saved.GetArtifactRef())
		if err != nil {
			t.Fatal(err)
		}
		content[0] ^= 1
		if err := os.WriteFile(saved.GetArtifactRef(), content, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(saved.GetArtifactRef(), before.ModTime(), before.ModTime()); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "checksum_mismatch")
	})
}

func TestAnswersAreRightUnderConcurrency(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		cfg.Revalidate = 0
		cfg.CacheSize = 7 // less than the set: evictions happen all the time
		library := openTest(t, cfg)
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		sums := map[string]string{}
		for i := range 20 {
			id := fmt.Sprintf("BP%03d", i)
			sums[id] = save(t, library, id, "kernel "+id).GetChecksum()
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for i := range 200 {
					id := fmt.Sprintf("BP%03d", i%20)
					request := &leyline.KernelPrefetchRequest{RequestId: id, BlueprintId: id}
					answer, _, err := prefetcher.Answer(context.Background(), request, nil)
					ready, ok := answer.(*leyline.KernelArtifactReady)
					if err != nil || !ok || ready.GetChecksum() != sums[id] || ready.GetRequestId() != id {
						t.Errorf("%s: %v, %v", id, answer, err)
						return
					}
				}
			})
		}
		group.Wait()
		m := prefetcher.Stats()
		if m.Hits != 1600 || m.LastMS <= 0 || m.P50MS <= 0 || m.P95MS < m.P50MS {
			t.Errorf("stats %+v", m)
		}
		if size := library.Stats().Memory.Size; size > 7 {
			t.Errorf("%v records in memory, limit 7", size)
		}
	})
}

func TestVerifyReadsTheFile(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		ctx := context.Background()
		library := openTest(t, testConfig(t.TempDir()))
		saved := save(t, library, "BP001", "kernel")
		if err := library.Verify(ctx, "BP001"); err != nil {
			t.Error(err)
		}
		flipBit(t, saved.GetArtifactRef())
		if err := library.Verify(ctx, "BP001"); !errors.Is(err, ErrChecksumMismatch) {
			t.Error(err)
		}
		if err := library.Verify(ctx, "BP002"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := library.Verify(cancelled, "BP001"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if state := library.Stats().Queries.Circuit; state != 1 {
			t.Errorf("breaker state %v after a caller gave up", state)
		}
	})
}
