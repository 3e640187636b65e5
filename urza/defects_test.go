package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// The prototype overwrote the artifact in place before its row (D-U1); the crash
// tests stop a save at every step. Here: the old artifact is still whole after a
// new one was saved, for whoever was told about it a moment ago.
func TestKernelJustAnnouncedIsNotOverwritten(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		old := save(t, library, "BP001", "old kernel")
		save(t, library, "BP001", "new kernel")
		content, err := os.ReadFile(old.GetArtifactRef())
		if err != nil || artifact.Checksum(content) != old.GetChecksum() {
			t.Errorf("%q, %v", content, err)
		}
	})
}

// D-U2: a stale cache condemned what another process had just saved.
func TestAnotherProcessesSaveIsSeenAndNotDestroyed(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		ours, theirs := openTest(t, cfg), openTest(t, cfg)
		prefetcher := NewPrefetcher(ours, PrefetchConfig{})
		for _, content := range []string{"old", "new", "newer"} {
			saved := save(t, theirs, "BP001", content)
			wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		}
		if !has(t, ours, "BP001") || !has(t, theirs, "BP001") {
			t.Error("gone")
		}
	})
}

// D-U2 as it was: the other process is a prototype, which overwrites in place.
func TestPrototypesOverwriteInPlaceIsFollowed(t *testing.T) {
	library := openPrototype(t)
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	wantReady(t, ask(t, prefetcher, "BP001"), artifact.Checksum([]byte("PK\x03\x04 opaque kernel of BP001")))

	content := []byte("the prototype compiled it again")
	if err := os.WriteFile("var/urza/BP001.pt", content, 0o644); err != nil {
		t.Fatal(err)
	}
	python, err := sql.Open("sqlite", "var/urza/catalog.db")
	if err != nil {
		t.Fatal(err)
	}
	defer python.Close()
	metadata := fmt.Sprintf(`{"blueprint_id": "BP001", "_urza": {"checksum": %q}}`, artifact.Checksum(content))
	_, err = python.Exec(`UPDATE blueprints SET metadata_json = $1 WHERE blueprint_id = 'BP001'`, metadata)
	if err != nil {
		t.Fatal(err)
	}
	wantReady(t, ask(t, prefetcher, "BP001"), artifact.Checksum(content))
	if !has(t, library, "BP001") {
		t.Error("gone")
	}
}

// D-U3: maintenance of a large catalogue ended in "database is locked".
func TestMaintenanceOfALargeCatalogueDoesNotLockItselfOut(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		cfg.CacheSize = 16
		library := openTest(t, cfg)
		fillRows(t, library, 500)
		var group sync.WaitGroup
		group.Go(func() { save(t, library, "BP-new", "kernel") })
		report, err := library.Maintain(context.Background())
		group.Wait()
		if err != nil || len(report.Missing) != 500 {
			t.Fatalf("%d missing, %v", len(report.Missing), err)
		}
		records, err := library.List(context.Background())
		if err != nil || len(records) != 501 {
			t.Errorf("%d rows left, %v", len(records), err)
		}
	})
}

// fillRows writes rows without files, in one statement for each database.
func fillRows(t testing.TB, library *Library, n int) {
	t.Helper()
	mustExec(t, library, fmt.Sprintf(`INSERT INTO blueprints
		WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d)
		SELECT id, 'n', 'BLUEPRINT_TIER_SAFE', '/nowhere/' || id, '{"_urza":{}}'
		FROM (SELECT 'X' || SUBSTR(CAST(1000000 + n AS TEXT), 2) AS id FROM numbers WHERE n < %d) AS ids`, n, n))
}

// D-U4: the "cache TTL" deleted artifacts and rows for good.
func TestCacheTTLNeverDeletesAKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t.TempDir())
		cfg.CacheTTL = time.Minute
		library, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer library.Close()
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		saved := save(t, library, "BP001", "kernel")
		save(t, library, "BP002", "kernel 2")
		ask(t, prefetcher, "BP001")
		ask(t, prefetcher, "BP002")
		time.Sleep(time.Hour) // the bubble's clock
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		report, err := library.Maintain(context.Background())
		if err != nil || report.Expired != 1 || len(report.Missing) != 0 || report.Rows != 2 {
			t.Errorf("%+v, %v", report, err)
		}
		if m := library.Stats(); m.Memory.Expired != 2 || m.Memory.Size != 1 || m.Memory.Evicted != 2 {
			t.Errorf("metrics: %v", m)
		}
		if !has(t, library, "BP002") {
			t.Error("gone")
		}
	})
}

// D-U5: a journal left by a crash was replayed at every start for ever, and
// concurrent saves clobbered it. There is none; the transaction is the journal.
func TestNoJournalBesideTheDatabase(t *testing.T) {
	dir := t.TempDir()
	save(t, openTest(t, testConfig(dir)), "BP001", "kernel")
	if found, err := filepath.Glob(filepath.Join(dir, "*.json")); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// D-U6: one malformed row prevented the start.
func TestOneMalformedRowDoesNotStopTheOthers(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		saved := save(t, library, "BP001", "kernel")
		bad := []struct{ id, tier, path, metadata string }{
			{"X1", "BLUEPRINT_TIER_SAFE", "/a", "{"},
			{"X2", "3", "/a", "{}"},
			{"X3", "BLUEPRINT_TIER_SAFE", "", "{}"},
			{"X4", "BLUEPRINT_TIER_SAFE", "/a", "[]"},
			{"X5", "BLUEPRINT_TIER_SAFE", "/a", "null"},
			{"X6", "BLUEPRINT_TIER_SAFE", "/a", `{"_urza": 7}`},
			{"X7", "BLUEPRINT_TIER_SAFE", "/a", `{"risk": "high"}`},
			{"X8", "BLUEPRINT_TIER_SAFE", "/a", ""},
		}
		for _, b := range bad {
			mustExec(t, library, insertRow, b.id, "name", b.tier, b.path, b.metadata)
		}
		records, err := library.List(context.Background())
		if err != nil || len(records) != 1 {
			t.Fatalf("%d readable rows, %v", len(records), err)
		}
		report, err := library.Maintain(context.Background())
		if err != nil || len(report.Skipped) != len(bad) || report.Rows != 1 {
			t.Fatalf("%+v, %v", report, err)
		}
		for i, skipped := range report.Skipped {
			if skipped.BlueprintID != bad[i].id || skipped.Reason == "" {
				t.Errorf("row %s reported as %+v", bad[i].id, skipped)
			}
		}
		if library.Stats().Skipped != int64(len(bad)) {
			t.Error(library.Stats())
		}
		wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), saved.GetChecksum())
	})
}

// D-U8: listing showed only what happened to be cached.
func TestListShowsEveryKernel(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		cfg.CacheSize = 2
		library := openTest(t, cfg)
		fillRows(t, library, 300)
		records, err := library.List(context.Background())
		if err != nil || len(records) != 300 || records[299].Descriptor.GetBlueprintId() != "X000299" {
			t.Errorf("%d rows, %v", len(records), err)
		}
	})
}

// D-U9: callers' extras replaced the checksum, so that a good kernel was refused.
func TestCallersExtrasCannotForgeTheChecksum(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		ctx := context.Background()
		library := openTest(t, testConfig(t.TempDir()))
		update := &leyline.KernelCatalogUpdate{GuardDigest: "true digest", PrewarmMs: 2}
		extras := map[string]any{"checksum": "forged", "guard_digest": "forged", "prewarm_ms": 7.0, "tags": []string{"kept"}}
		saved, err := library.Save(ctx, descriptor("BP001"), []byte("kernel"), update, extras)
		if err != nil {
			t.Fatal(err)
		}
		record, err := library.Get(ctx, "BP001")
		if err != nil || record.Checksum != artifact.Checksum([]byte("kernel")) || record.GuardDigest != "true digest" {
			t.Errorf("%+v, %v", record, err)
		}
		if record.PrewarmMs != 7 || !cmp.Equal(record.Extras["tags"], []any{"kept"}) {
			t.Errorf("extras lost: %+v", record.Extras)
		}
		if extras["checksum"] != "forged" || update.GetChecksum() != "" || saved.GetArtifactRef() != record.ArtifactRef {
			t.Error("the caller's own values were changed, or the reference differs")
		}
	})
}

// D-U10: a file that vanished while it was being served made the request disappear.
func TestFileVanishingWhileServedIsAnswered(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		for range 20 {
			saved := save(t, library, "BP001", "kernel")
			var group sync.WaitGroup
			group.Go(func() { _ = os.Remove(saved.GetArtifactRef()) })
			if answer := ask(t, prefetcher, "BP001"); answer == nil {
				t.Fatal("no answer")
			}
			group.Wait()
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "artifact_not_found")
	})
}

// D-U11: the reference depended on the working directory of whoever saved.
func TestArtifactRefDoesNotDependOnTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	library := openTest(t, Config{})
	saved := save(t, library, "BP001", "kernel")
	t.Chdir(t.TempDir())
	ready := wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), saved.GetChecksum())
	if _, err := os.Stat(ready.GetArtifactRef()); err != nil || ready.GetArtifactRef() != saved.GetArtifactRef() {
		t.Error(ready, err)
	}
}

// D-U12: an update was announced that did not match what was stored.
func TestUpdateThatDoesNotMatchTheArtifactIsRefused(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		ctx := context.Background()
		library := openTest(t, testConfig(t.TempDir()))
		update := &leyline.KernelCatalogUpdate{BlueprintId: "BP001", Checksum: artifact.Checksum([]byte("another kernel"))}
		_, err := library.Save(ctx, descriptor("BP001"), []byte("kernel"), update, nil)
		if !errors.Is(err, ErrChecksumMismatch) {
			t.Error(err)
		}
		if has(t, library, "BP001") {
			t.Error("stored")
		}
	})
}
