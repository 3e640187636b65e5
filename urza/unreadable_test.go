package urza

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// badBlocks is a regular file whose first byte is an EIO, also for root.
const badBlocks = "/proc/self/mem"

// One artifact that cannot be read is its own matter: a request for it is refused, and
// those for the others are answered.
func TestR29ArtifactThatCannotBeReadIsNoOutage(t *testing.T) {
	folder := func(t *testing.T) (*s3test.Server, *Library) {
		t.Helper()
		return nil, openTest(t, testConfig(t.TempDir()))
	}
	objects := func(t *testing.T) (*s3test.Server, *Library) {
		t.Helper()
		server, library, _ := objectLibrary(t, testConfig)
		return server, library
	}
	at := func(path string) func(*testing.T, *s3test.Server, *Library) {
		return func(t *testing.T, _ *s3test.Server, library *Library) {
			t.Helper()
			point(t, library, "BP001", path, artifact.Checksum([]byte("kernel")))
		}
	}
	for name, test := range map[string]struct {
		open  func(*testing.T) (*s3test.Server, *Library)
		spoil func(*testing.T, *s3test.Server, *Library)
	}{
		"bad blocks":                    {folder, at(badBlocks)},
		"no object store is configured": {folder, at("s3://bucket/kernel.onnx")},
		"another bucket":                {objects, at("s3://another/kernel.onnx")},
		"bad blocks beside objects":     {objects, at(badBlocks)},
		"one object is forbidden": {objects, func(_ *testing.T, server *s3test.Server, _ *Library) {
			sum := artifact.Checksum([]byte("kernel"))
			server.Forbidden.Store(&sum)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server, library := test.open(t)
			save(t, library, "BP001", "kernel")
			other := save(t, library, "BP002", "other")
			test.spoil(t, server, library)
			prefetcher := NewPrefetcher(library, PrefetchConfig{})
			for range 2 {
				wantRefused(t, ask(t, prefetcher, "BP001"), "artifact_not_found")
			}
			wantReady(t, ask(t, prefetcher, "BP002"), other.GetChecksum())
			if err := library.Verify(t.Context(), "BP001"); !errors.Is(err, ErrUnreadable) || errors.Is(err, ErrUnavailable) {
				t.Errorf("verify: %v", err)
			}
			if found, err := library.Scrub(t.Context(), 0); err != nil || found.Failed != 1 || found.Checked != 1 {
				t.Errorf("scrub: %+v, %v", found, err)
			}
		})
	}
}

// A store that is away takes nothing from its kernels: requests wait for it.
func TestR29StoreThatIsAwayIsAnOutage(t *testing.T) {
	wantOutage := func(t *testing.T, library *Library) {
		t.Helper()
		request := &leyline.KernelPrefetchRequest{RequestId: "r", BlueprintId: "BP001"}
		answer, _, err := NewPrefetcher(library, PrefetchConfig{}).Answer(context.Background(), request, nil)
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnreadable) {
			t.Errorf("answered %v, %v; want that it is tried again", answer, err)
		}
		if found, err := library.Has(t.Context(), "BP001"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("has %v, %v", found, err)
		}
	}
	t.Run("folder not mounted", func(t *testing.T) {
		config := testConfig(t.TempDir())
		config.ArtifactDir = filepath.Join(t.TempDir(), "mounted")
		library := openTest(t, config)
		saved := save(t, library, "BP001", "kernel")
		away := config.ArtifactDir + ".away"
		if err := os.Rename(config.ArtifactDir, away); err != nil {
			t.Fatal(err)
		}
		wantOutage(t, library)
		if err := os.Rename(away, config.ArtifactDir); err != nil {
			t.Fatal(err)
		}
		wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), saved.GetChecksum())
	})
	t.Run("bucket forbidden", func(t *testing.T) {
		server, library, _ := objectLibrary(t, testConfig)
		saved := save(t, library, "BP001", "kernel")
		server.Forbidden.Store(new(string))
		wantOutage(t, library)
		server.Forbidden.Store(nil)
		wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), saved.GetChecksum())
	})
}

// A row with nothing where something has to be is a row that cannot be used: the others
// are served and listed, and a save replaces it.
func TestR29RowWithoutAPathIsNoOutage(t *testing.T) {
	dir := t.TempDir()
	config := testConfig(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`CREATE TABLE blueprints (blueprint_id VARCHAR PRIMARY KEY, name VARCHAR, tier VARCHAR,
		artifact_path VARCHAR, metadata_json TEXT);
		INSERT INTO blueprints VALUES ('BP001', NULL, 'BLUEPRINT_TIER_SAFE', NULL, NULL)`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	library := openTest(t, config)
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	for range 2 * 5 { // nor does it open the breaker
		wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
	}
	other := save(t, library, "BP002", "other")
	wantReady(t, ask(t, prefetcher, "BP002"), other.GetChecksum())
	if records, err := library.List(t.Context()); err != nil || len(records) != 1 {
		t.Errorf("listed %d, %v", len(records), err)
	}
	healed := save(t, library, "BP001", "kernel")
	wantReady(t, ask(t, prefetcher, "BP001"), healed.GetChecksum())
}
