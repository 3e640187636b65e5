package urza

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

func TestScrubFindsDamageBeforeAnybodyAsks(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		library := openTest(t, newConfig(t.TempDir()))
		save(t, library, "BP001", "sound")
		damaged := save(t, library, "BP002", "damaged")
		missing := save(t, library, "BP003", "missing")
		flipBit(t, damaged.GetArtifactRef())
		if err := os.Remove(missing.GetArtifactRef()); err != nil {
			t.Fatal(err)
		}
		for pass := range 2 {
			result, err := library.Scrub(context.Background(), 0)
			if err != nil || result != (Scrubbed{Checked: 1, Corrupt: 1, Missing: 1}) {
				t.Errorf("pass %d: %+v, %v", pass, result, err)
			}
		}
		m := library.Stats()
		if m.Scrubs != 2 || m.Scrubbed != 6 || m.LastScrub.Corrupt != 1 || m.LastScrub.Missing != 1 ||
			m.Damaged != 1 {
			t.Errorf("metrics: %v", m)
		}
		wantRefused(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP002"), "checksum_mismatch")
	})
}

func TestScrubKeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		library, err := Open(context.Background(), testConfig(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		defer library.Close()
		save(t, library, "BP001", strings.Repeat("x", 5*artifact.Chunk))
		begun := time.Now()
		found, err := library.Scrub(t.Context(), artifact.Chunk)
		if err != nil || found.Checked != 1 {
			t.Errorf("%+v, %v", found, err)
		}
		// The first chunk is in the bucket.
		if took := time.Since(begun).Round(time.Second); took != 4*time.Second {
			t.Errorf("five chunks took %s", took)
		}
	})
}

func TestScrubOfAClosedLibraryFails(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	if err := library.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := library.Scrub(context.Background(), 0); err == nil {
		t.Error("no error")
	}
}

func TestNothingIsEverRemovedWithoutARetention(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	old := save(t, library, "BP001", "old")
	save(t, library, "BP001", "new")
	for range 3 {
		if pruned, err := library.Prune(context.Background()); pruned != 0 || err != nil {
			t.Error(pruned, err)
		}
	}
	if _, err := os.Stat(old.GetArtifactRef()); err != nil {
		t.Error(err)
	}
}

func TestUnreferencedArtifactsGoAfterTheirTime(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		secretFile, _ := keyPair(t)
		ctx := context.Background()
		cfg := newConfig(t.TempDir())
		cfg.Retention, cfg.SigningKeyFile = 24*time.Hour, secretFile
		library := openTest(t, cfg)
		old := save(t, library, "BP001", "old")
		kept := save(t, library, "BP001", "new")
		again := save(t, library, "BP002", "comes back")
		save(t, library, "BP002", "for a while")
		unreadable := save(t, library, "BP003", "of a row that cannot be read")
		mustExec(t, library, `UPDATE blueprints SET metadata_json = '{' WHERE blueprint_id = 'BP003'`)
		notes := filepath.Join(filepath.Dir(kept.GetArtifactRef()), "notes.txt")
		if err := os.WriteFile(notes, []byte("not ours"), 0o644); err != nil {
			t.Fatal(err)
		}

		start := time.Now().UTC()
		prune := func(after time.Duration, want int) {
			t.Helper()
			if pruned, err := library.pruner.Prune(ctx, start.Add(after)); pruned != want || err != nil {
				t.Errorf("after %s: %d pruned, want %d, %v", after, pruned, want, err)
			}
		}
		prune(0, 0)
		prune(23*time.Hour, 0)
		save(t, library, "BP002", "comes back")
		prune(25*time.Hour, 1) // old; "for a while" is only noted now
		prune(26*time.Hour, 0)
		for _, gone := range []string{old.GetArtifactRef(), old.GetArtifactRef() + ".minisig"} {
			if _, err := os.Stat(gone); err == nil {
				t.Errorf("%s is still there", gone)
			}
		}
		stay := []string{kept.GetArtifactRef(), kept.GetArtifactRef() + ".minisig", again.GetArtifactRef(),
			unreadable.GetArtifactRef(), notes}
		for _, path := range stay {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
		prune(50*time.Hour, 1) // "for a while"
	})
}

func TestPruneOfObjects(t *testing.T) {
	server, _, cfg := objectLibrary(t, testConfig)
	cfg.Retention = time.Hour
	library := openTest(t, cfg)
	save(t, library, "BP001", "old")
	save(t, library, "BP001", "new")
	now := time.Now().UTC()
	for i, want := range []int{0, 1, 0} {
		pruned, err := library.pruner.Prune(context.Background(), now.Add(time.Duration(i)*2*time.Hour))
		if pruned != want || err != nil {
			t.Errorf("%d: %d, %v", i, pruned, err)
		}
	}
	if keys := server.Keys(""); len(keys) != 1 {
		t.Error(keys)
	}
}

func TestAbsentKernelCostsOneQuery(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		cfg := newConfig(t.TempDir())
		cfg.Revalidate = time.Hour
		library, other := openTest(t, cfg), openTest(t, newConfig(t.TempDir()))
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
		mustExec(t, library, "DROP TABLE blueprints")
		for range 10 {
			wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
		}
		prefetcher = NewPrefetcher(other, PrefetchConfig{})
		wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
		saved := save(t, other, "BP001", "kernel")
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
	})
}

// Noted by a clock that ran ahead, an artifact would stay until that day.
func TestOrphanNotedInTheFutureGoesInItsTime(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Retention = 24 * time.Hour
	library := openTest(t, cfg)
	save(t, library, "BP001", "old")
	save(t, library, "BP001", "new")
	start := time.Now().UTC()
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{1000 * time.Hour, 0}, {0, 0}, {23 * time.Hour, 0}, {25 * time.Hour, 1}} {
		if pruned, err := library.pruner.Prune(context.Background(), start.Add(step.after)); pruned != step.want || err != nil {
			t.Errorf("after %s: %d pruned, want %d, %v", step.after, pruned, step.want, err)
		}
	}
}
