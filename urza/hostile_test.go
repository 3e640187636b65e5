package urza

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

func TestMemoryDoesNotGoByTheTimeOfDay(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	if begun := library.lookup.clock.begun.String(); !strings.Contains(begun, " m=") {
		t.Error("the clock has no monotonic reading: setting the time of day back would keep stale rows in memory")
	}
}

// point makes the row of a blueprint promise a checksum of the file at path.
func point(t *testing.T, library *Library, id, path, sum string) {
	t.Helper()
	mustExec(t, library, `UPDATE blueprints SET artifact_path = $1, metadata_json = $2 WHERE blueprint_id = $3`,
		path, `{"_urza":{"checksum":"`+sum+`"}}`, id)
}

func TestWrongRowDoesNotTakeTheKernelFromAnother(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		library := openTest(t, config(t.TempDir()))
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		good := save(t, library, "BP001", "kernel")
		save(t, library, "BP002", "other")
		point(t, library, "BP002", good.GetArtifactRef(), strings.Repeat("0", 64))
		wantRefused(t, ask(t, prefetcher, "BP002"), "checksum_mismatch")
		if has(t, library, "BP002") {
			t.Error("a kernel that cannot be served is there: no forge would heal it")
		}
		wantReady(t, ask(t, prefetcher, "BP001"), good.GetChecksum())
		own := save(t, library, "BP003", "third")
		point(t, library, "BP003", own.GetArtifactRef(), strings.Repeat("0", 64))
		wantRefused(t, ask(t, prefetcher, "BP003"), "checksum_mismatch")
		if _, err := os.Stat(own.GetArtifactRef()); err != nil {
			t.Errorf("set aside although it holds what its name says: %v", err)
		}
		healed := save(t, library, "BP002", "other")
		wantReady(t, ask(t, prefetcher, "BP002"), healed.GetChecksum())
	})
}

// The prototype's artifacts are named after blueprints: only rows tell what they hold.
func TestWrongRowDoesNotTakeAPrototypesArtifact(t *testing.T) {
	dir := t.TempDir()
	library := openTest(t, testConfig(dir))
	path := filepath.Join(dir, "BP001.pt")
	if err := os.WriteFile(path, []byte("kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	save(t, library, "BP001", "kernel")
	save(t, library, "BP002", "other")
	point(t, library, "BP001", path, artifact.Checksum([]byte("kernel")))
	point(t, library, "BP002", path, strings.Repeat("0", 64))
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	wantRefused(t, ask(t, prefetcher, "BP002"), "checksum_mismatch")
	wantReady(t, ask(t, prefetcher, "BP001"), artifact.Checksum([]byte("kernel")))
}

func TestRowThatNamesTheCatalogueDoesNotMoveIt(t *testing.T) {
	dir := t.TempDir()
	library := openTest(t, testConfig(dir))
	save(t, library, "BP001", "kernel")
	catalogue := filepath.Join(dir, "catalog.db")
	point(t, library, "BP001", catalogue, strings.Repeat("0", 64))
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	for range 3 { // the file changes while it is read, as often as something is written
		answer, _, err := prefetcher.Answer(context.Background(), &leyline.KernelPrefetchRequest{BlueprintId: "BP001"}, nil)
		if err == nil {
			wantRefused(t, answer, "checksum_mismatch")
		} else if !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(catalogue); err != nil {
		t.Errorf("the catalogue was set aside: %v", err)
	}
}

func TestRowsThatNoMessageCanCarryAreReported(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	save(t, library, "BP001", "kernel")
	for _, columns := range []struct{ id, path string }{
		{"'BP\xff'", "'/a'"}, {"''", "'/a'"}, {"'BP002'", "'/a\xff'"}, {"'BP003'", "CAST(x'2f6100' AS TEXT)"},
	} {
		mustExec(t, library, `INSERT INTO blueprints VALUES (`+columns.id+`, 'n', 'BLUEPRINT_TIER_SAFE', `+columns.path+`, '{}')`)
	}
	report, err := library.Maintain(context.Background())
	if err != nil || report.Rows != 1 || len(report.Skipped) != 4 {
		t.Errorf("%+v, %v", report, err)
	}
	wantRefused(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP002"), "missing_artifact")
	if _, err := library.Save(context.Background(), descriptor("BP\xff"), []byte("k"), nil, nil); err == nil {
		t.Error("saved under an id that cannot be announced")
	}
}

func TestTimesBeyondWhatAMessageHoldsAreLeftOut(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	saved := save(t, library, "BP001", "kernel")
	mustExec(t, library, `UPDATE blueprints SET metadata_json =
		'{"_urza":{"prewarm_samples":[1e300,-1,3],"compile_ms":1e300,"prewarm_ms":-5}}' WHERE blueprint_id = 'BP001'`)
	ready := wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), saved.GetChecksum())
	if ready.GetPrewarmP50Ms() != 3 || math.IsInf(float64(ready.GetPrewarmP95Ms()), 0) {
		t.Errorf("announced %v", ready)
	}
	record, err := library.Get(context.Background(), "BP001")
	if err != nil || record.CompileMs != 0 || record.PrewarmMs != 0 {
		t.Errorf("%+v, %v", record, err)
	}
}

// What lies at an artifact's path may be anything; none of it holds a request up.
func TestPathThatLeadsToNoFileIsAMissingArtifact(t *testing.T) {
	dir := t.TempDir()
	library := openTest(t, testConfig(dir))
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	circle, pipe, folder := filepath.Join(dir, "circle"), filepath.Join(dir, "pipe"), filepath.Join(dir, "folder")
	if err := errors.Join(os.Symlink(circle, circle), unix.Mkfifo(pipe, 0o600), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	long := "/" + strings.Repeat("a/", unix.PathMax)
	for _, path := range []string{circle, pipe, folder, filepath.Join(circle, "k.onnx"), long, "/dev/null"} {
		save(t, library, "BP001", "kernel")
		point(t, library, "BP001", path, artifact.Checksum([]byte("kernel")))
		wantRefused(t, ask(t, prefetcher, "BP001"), "artifact_not_found")
		if _, err := library.OpenArtifact(context.Background(), path); !errors.Is(err, ErrArtifactMissing) {
			t.Errorf("open %.40s: %v", path, err)
		}
	}
}

// A folder cannot be replaced by a rename. It is set aside, and the kernel heals as it does
// whatever else lies in its place: a forge that met it stored no kernel behind it.
func TestFolderInPlaceOfAnArtifactMakesRoom(t *testing.T) {
	dir := t.TempDir()
	library := openTest(t, testConfig(dir))
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	for range 2 {
		path := save(t, library, "BP001", "kernel").GetArtifactRef()
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(path, "kept"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "artifact_not_found")
		if has, err := library.Has(t.Context(), "BP001"); has || err != nil {
			t.Errorf("a forge hears %v, %v; want that the kernel is to be made", has, err)
		}
		saved := save(t, library, "BP001", "kernel")
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
	}
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(library.store.Ref("", "")), "quarantine", "*", "kept"))
	if err != nil || len(kept) != 2 {
		t.Errorf("set aside: %v, %v", kept, err)
	}
}

// A file that has grown beyond what an artifact can be is damaged, and nobody reads it to
// find that out: this one would take hours.
func TestArtifactThatWouldCountAsDamagedIsNotSaved(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	content := make([]byte, 17<<20)
	if _, err := library.Save(t.Context(), descriptor("BP001"), content, &leyline.KernelCatalogUpdate{}, nil); err == nil {
		t.Error("a kernel that is larger than any was saved")
	}
	if _, err := library.Save(t.Context(), descriptor("BP001"), content, &leyline.KernelCatalogUpdate{ArtifactRef: "k.pt"}, nil); err != nil {
		t.Errorf("one of another kind: %v", err)
	}
}

func TestArtifactThatGrewIsRefusedByItsSize(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	for _, extension := range []string{"k.onnx", "k.pt"} {
		update := &leyline.KernelCatalogUpdate{ArtifactRef: extension}
		saved, err := library.Save(t.Context(), descriptor("BP001"), []byte("kernel"), update, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(saved.GetArtifactRef(), 8<<40); err != nil {
			t.Fatal(err)
		}
		if _, _, err := library.OpenChecksum(t.Context(), saved.GetChecksum()); !errors.Is(err, ErrChecksumMismatch) {
			t.Errorf("%s: opened with %v", extension, err)
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "checksum_mismatch")
		if _, err := os.Stat(saved.GetArtifactRef()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: not set aside: %v", extension, err)
		}
	}
}

func TestLinkInTheArtifactFolderIsReplacedNotFollowed(t *testing.T) {
	dir := t.TempDir()
	library := openTest(t, testConfig(dir))
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("not an artifact"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := library.store.Ref(artifact.Checksum([]byte("kernel")), "k.onnx")
	if err := os.Symlink(precious, link); err != nil {
		t.Fatal(err)
	}
	saved := save(t, library, "BP001", "kernel")
	wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), saved.GetChecksum())
	if text, err := os.ReadFile(precious); string(text) != "not an artifact" || err != nil {
		t.Errorf("wrote through the link: %q, %v", text, err)
	}
	if err := errors.Join(os.Remove(link), os.Symlink(precious, link)); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), "checksum_mismatch")
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("set aside what the link leads to: %v", err)
	}
}

// An object store whose answers end early, or are garbled on their way, has lost
// nothing: what it keeps stays where it is, and is served when the way is clear.
func TestAnswersThatFailHalfWayCondemnNoObject(t *testing.T) {
	var garbled atomic.Int64
	for name, spoil := range map[string]func(w http.ResponseWriter, content []byte){
		"ends early": func(w http.ResponseWriter, content []byte) {
			http.NewResponseController(w).Flush() // no length in the head
			_, _ = w.Write(content[:len(content)/2])
		},
		"is cut": func(w http.ResponseWriter, content []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = w.Write(content[:len(content)/2])
			panic(http.ErrAbortHandler)
		},
		"is garbled, each time otherwise": func(w http.ResponseWriter, content []byte) {
			_, _ = w.Write(append([]byte{byte(garbled.Add(1))}, content[1:]...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, library, _ := objectLibrary(t, testConfig)
			saved := save(t, library, "BP001", strings.Repeat("kernel", 1000))
			prefetcher := NewPrefetcher(library, PrefetchConfig{})
			server.Spoil.Store(&spoil)
			request := &leyline.KernelPrefetchRequest{RequestId: "prefetch-1", BlueprintId: "BP001"}
			if answer, _, err := prefetcher.Answer(context.Background(), request, nil); !errors.Is(err, ErrUnavailable) {
				t.Errorf("answered %v, %v; want that it is tried again", answer, err)
			}
			if _, err := library.Scrub(context.Background(), 0); err != nil {
				t.Error(err)
			}
			server.Spoil.Store(nil)
			wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
			if keys := server.Keys("lib/v1/quarantine/"); len(keys) > 0 {
				t.Errorf("condemned: %v", keys)
			}
		})
	}
}
