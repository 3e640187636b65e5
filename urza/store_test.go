package urza

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// objectConfig makes a library keep its artifacts in the object store.
func objectConfig(server *s3test.Server, cfg Config) Config {
	cfg.ArtifactURL = server.ArtifactURL("lib/v1")
	cfg.S3AccessKey, cfg.S3SecretKey = s3test.AccessKey, s3test.SecretKey
	cfg.ObjectTrust = -1
	return cfg
}

func objectLibrary(t *testing.T, newConfig configFor) (*s3test.Server, *Library, Config) {
	t.Helper()
	server := s3test.Start(t)
	cfg := objectConfig(server, newConfig(t.TempDir()))
	return server, openTest(t, cfg), cfg
}

func readArtifact(t *testing.T, library *Library, ref string) (string, error) {
	t.Helper()
	file, err := library.OpenArtifact(context.Background(), ref)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	return string(text), err
}

func TestTwoMachinesShareOneLibrary(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		server, here, cfg := objectLibrary(t, newConfig)
		cfg.ArtifactDir = filepath.Join(t.TempDir(), "never made")
		there := openTest(t, cfg)
		saved := save(t, here, "BP001", "kernel")
		want := "s3://kernels/lib/v1/" + artifact.Checksum([]byte("kernel")) + ".onnx"
		if saved.GetArtifactRef() != want {
			t.Errorf("reference %s, want %s", saved.GetArtifactRef(), want)
		}
		ready := wantReady(t, ask(t, NewPrefetcher(there, PrefetchConfig{}), "BP001"), saved.GetChecksum())
		if text, err := readArtifact(t, there, ready.GetArtifactRef()); text != "kernel" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		record, err := there.Get(context.Background(), "BP001")
		if err != nil || record.Bytes != 6 || !has(t, there, "BP001") {
			t.Errorf("%+v, %v", record, err)
		}
		if _, err := os.Stat(cfg.ArtifactDir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("made a folder it does not need: %v", err)
		}
		if keys := server.Keys(""); len(keys) != 1 {
			t.Errorf("left behind: %v", keys)
		}
	})
}

func TestDamagedObjectIsQuarantinedAndHealed(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		server, library, _ := objectLibrary(t, newConfig)
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		saved := save(t, library, "BP001", "kernel")
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		key := strings.TrimPrefix(saved.GetArtifactRef(), "s3://kernels/")
		server.Store(key, []byte("kernal"))
		wantRefused(t, ask(t, prefetcher, "BP001"), "checksum_mismatch")
		if keys := server.Keys("lib/v1/quarantine/"); len(keys) != 1 {
			t.Errorf("evidence: %v", keys)
		}
		if has(t, library, "BP001") {
			t.Error("present")
		}
		save(t, library, "BP001", "kernel")
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		server.Delete(key)
		wantRefused(t, ask(t, prefetcher, "BP001"), "artifact_not_found")
	})
}

func TestHotRequestDoesNotAskTheObjectStore(t *testing.T) {
	server := s3test.Start(t)
	cfg := objectConfig(server, testConfig(t.TempDir()))
	cfg.ObjectTrust = time.Hour
	library := openTest(t, cfg)
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	saved := save(t, library, "BP001", "kernel")
	wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
	before := server.Requests.Load()
	for range 100 {
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
	}
	if asked := server.Requests.Load() - before; asked != 0 {
		t.Errorf("%d requests to the store", asked)
	}
}

func TestObjectStoreThatIsDownIsNotAMissingArtifact(t *testing.T) {
	server, library, _ := objectLibrary(t, testConfig)
	saved := save(t, library, "BP001", "kernel")
	server.Down.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := library.Verify(ctx, "BP001"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("verify: %v", err)
	}
	if _, err := library.OpenArtifact(ctx, saved.GetArtifactRef()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
	server.Down.Store(false)
	wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), saved.GetChecksum())
}

// A process that was not told of the object store must not take its rows for lost
// and compile them again into a folder that the others cannot see.
func TestRowOfAnObjectStoreThatIsNotConfigured(t *testing.T) {
	_, library, cfg := objectLibrary(t, testConfig)
	save(t, library, "BP001", "kernel")
	cfg.ArtifactURL = ""
	folder := openTest(t, cfg)
	if found, err := folder.Has(context.Background(), "BP001"); !errors.Is(err, ErrUnreadable) {
		t.Error(found, err)
	}
	err := folder.Verify(context.Background(), "BP001")
	if !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "no object store is configured") {
		t.Error(err)
	}
}

func TestFilesAreServedBesideObjects(t *testing.T) {
	dir := t.TempDir()
	before := openTest(t, testConfig(dir))
	old := save(t, before, "BP001", "from the folder")
	library := openTest(t, objectConfig(s3test.Start(t), testConfig(dir)))
	fresh := save(t, library, "BP002", "from the store")
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	wantReady(t, ask(t, prefetcher, "BP001"), old.GetChecksum())
	wantReady(t, ask(t, prefetcher, "BP002"), fresh.GetChecksum())
}

func TestOpenedArtifactIsCheckedWhileItIsRead(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	saved := save(t, library, "BP001", "kernel")
	if text, err := readArtifact(t, library, saved.GetArtifactRef()); text != "kernel" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	flipBit(t, saved.GetArtifactRef())
	if text, err := readArtifact(t, library, saved.GetArtifactRef()); !errors.Is(err, ErrChecksumMismatch) {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.Remove(saved.GetArtifactRef()); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{saved.GetArtifactRef(), t.TempDir()} {
		if _, err := readArtifact(t, library, ref); !errors.Is(err, ErrArtifactMissing) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestSurveyOfManyObjectsIsOneListing(t *testing.T) {
	ctx := context.Background()
	server, library, _ := objectLibrary(t, testConfig)
	for i := range 10 {
		save(t, library, fmt.Sprintf("BP%03d", i), strings.Repeat("x", i+1))
	}
	server.Delete(server.Keys("lib/v1/")[0])
	before := server.Requests.Load()
	records, err := library.List(ctx)
	if err != nil || len(records) != 10 {
		t.Fatalf("%d rows, %v", len(records), err)
	}
	total := int64(0)
	for _, record := range records {
		total += record.Bytes
	}
	report, err := library.Maintain(ctx)
	if err != nil || len(report.Missing) != 1 || total == 0 || total >= 55 {
		t.Errorf("%+v, %v; %d bytes in all", report, err, total)
	}
	if asked := server.Requests.Load() - before; asked > 4 { // two listings, and the missing one twice
		t.Errorf("%d requests", asked)
	}
}

func TestWrongCredentialsAreRefusedAtTheStart(t *testing.T) {
	server := s3test.Start(t)
	for _, keys := range [][2]string{{s3test.AccessKey, "wrong"}, {"stranger", s3test.SecretKey}, {"", ""}} {
		cfg := objectConfig(server, testConfig(t.TempDir()))
		cfg.S3AccessKey, cfg.S3SecretKey = keys[0], keys[1]
		if _, err := Open(context.Background(), cfg); !errors.Is(err, ErrUnavailable) {
			t.Errorf("keys %q: %v", keys, err)
		}
	}
	if kept := server.Keys(""); len(kept) != 0 {
		t.Errorf("a stranger left %v", kept)
	}
}
