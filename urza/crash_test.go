package urza

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

var errCrash = errors.New("crashed")

// crashingDisk stops working at its n-th operation, for good: what a process that
// dies there leaves behind. A write that it dies in is half done.
type crashingDisk struct {
	artifact.Disk
	mu    sync.Mutex
	left  int
	crash func() // what happens then; nil is an error
}

func (d *crashingDisk) step() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left--; d.left >= 0 {
		return nil
	}
	if d.crash != nil {
		d.crash()
	}
	return errCrash
}

func (d *crashingDisk) CreateTemp(dir string) (artifact.TempFile, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	file, err := d.Disk.CreateTemp(dir)
	return &crashingFile{file, d}, err
}

func (d *crashingDisk) Name(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Disk.Name(from, to)
}

func (d *crashingDisk) Rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Disk.Rename(from, to)
}

func (d *crashingDisk) SyncDir(dir string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Disk.SyncDir(dir)
}

func (d *crashingDisk) Remove(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Disk.Remove(path)
}

func (d *crashingDisk) Identify(path string) (artifact.Identity, error) {
	if err := d.step(); err != nil { // inside the transaction, before the row is written
		return artifact.Identity{}, err
	}
	return d.Disk.Identify(path)
}

type crashingFile struct {
	artifact.TempFile
	disk *crashingDisk
}

func (f *crashingFile) Write(content []byte) (int, error) {
	n, err := f.TempFile.Write(content[:len(content)/2])
	if err != nil {
		return n, err
	}
	if err := f.disk.step(); err != nil {
		return n, err
	}
	rest, err := f.TempFile.Write(content[n:])
	return n + rest, err
}

func (f *crashingFile) Sync() error {
	if err := f.disk.step(); err != nil {
		return err
	}
	return f.TempFile.Sync()
}

func (f *crashingFile) Close() error {
	return errors.Join(f.disk.step(), f.TempFile.Close())
}

func TestCrashDuringSaveLosesNothing(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		const steps = 7 // create, write, sync, close, rename, sync folder, look inside the transaction
		for left := range steps + 1 {
			t.Run(fmt.Sprintf("after %d operations", left), func(t *testing.T) {
				cfg := testConfig(t.TempDir())
				first := openTest(t, cfg)
				old := save(t, first, "BP001", "old kernel")

				failing, err := open(context.Background(), cfg, &crashingDisk{left: left})
				if err != nil {
					t.Fatal(err)
				}
				_, saved := failing.Save(context.Background(), descriptor("BP001"), []byte("new kernel"), nil, nil)
				_, fresh := failing.Save(context.Background(), descriptor("BP002"), []byte("fresh kernel"), nil, nil)
				if err := failing.Close(); err != nil {
					t.Fatal(err)
				}
				if (saved == nil) != (left == steps) || !errors.Is(fresh, errCrash) {
					t.Fatalf("saves returned %v and %v", saved, fresh)
				}

				reopened := openTest(t, cfg)
				want := old.GetChecksum()
				if saved == nil {
					want = artifact.Checksum([]byte("new kernel"))
				}
				wantReady(t, ask(t, NewPrefetcher(reopened, PrefetchConfig{}), "BP001"), want)
				wantRefused(t, ask(t, NewPrefetcher(reopened, PrefetchConfig{}), "BP002"), "missing_artifact")
				records, err := reopened.List(context.Background())
				if err != nil || len(records) != 1 {
					t.Fatalf("rows: %v, %v", records, err)
				}
				save(t, reopened, "BP002", "fresh kernel")
				wantReady(t, ask(t, NewPrefetcher(reopened, PrefetchConfig{}), "BP002"), artifact.Checksum([]byte("fresh kernel")))
			})
		}
	})
}

func TestFailedSaveCleansUpAfterItself(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		cancelled, cancel := context.WithCancel(context.Background())
		library := openTest(t, cfg)
		cancel()
		_, err := library.Save(cancelled, descriptor("BP001"), []byte("kernel"), nil, nil)
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		left, err := filepath.Glob(filepath.Join(cfg.ArtifactDir, "*"))
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func TestLeftoversOfCrashesAreSwept(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		library := openTest(t, cfg)
		saved := save(t, library, "BP001", "kernel")
		old, running := filepath.Join(cfg.ArtifactDir, ".save-1.tmp"), filepath.Join(cfg.ArtifactDir, ".save-2.tmp")
		for _, path := range []string{old, running} {
			if err := os.WriteFile(path, []byte("half a ker"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		info, err := os.Stat(old)
		if err != nil {
			t.Fatal(err)
		}
		past := info.ModTime().Add(-2 * time.Hour)
		if err := os.Chtimes(old, past, past); err != nil {
			t.Fatal(err)
		}
		report, err := library.Maintain(context.Background())
		if err != nil || report.Swept != 1 {
			t.Errorf("%+v, %v", report, err)
		}
		for _, kept := range []string{running, saved.GetArtifactRef()} {
			if _, err := os.Stat(kept); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestConcurrentSaversOfTwoProcesses(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		libraries := []*Library{openTest(t, cfg), openTest(t, cfg)}
		var group sync.WaitGroup
		for writer := range 8 {
			group.Go(func() {
				for i := range 10 {
					id := fmt.Sprintf("BP%03d", i)
					content := fmt.Appendf(nil, "kernel %s by %d", id, writer)
					update := &leyline.KernelCatalogUpdate{PrewarmMs: float32(writer + 1)}
					_, err := libraries[writer%2].Save(context.Background(), descriptor(id), content, update, nil)
					if err != nil {
						t.Error(err)
					}
				}
			})
			group.Go(func() {
				prefetcher := NewPrefetcher(libraries[writer%2], PrefetchConfig{})
				for i := range 100 {
					request := &leyline.KernelPrefetchRequest{BlueprintId: fmt.Sprintf("BP%03d", i%10)}
					answer, _, err := prefetcher.Answer(context.Background(), request, nil)
					if err != nil {
						t.Error(err)
					}
					checkServed(t, answer)
				}
			})
		}
		group.Wait()
		for _, library := range libraries {
			records, err := library.List(context.Background())
			if err != nil || len(records) != 10 {
				t.Fatalf("%d rows, %v", len(records), err)
			}
			for _, record := range records {
				if len(record.PrewarmSamples) != 8 {
					t.Errorf("lost updates: %v", record.PrewarmSamples)
				}
				wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), record.Descriptor.GetBlueprintId()), record.Checksum)
			}
		}
	})
}

// checkServed accepts a refusal of what is not saved yet, and a ready answer whose
// file is what it says.
func checkServed(t *testing.T, answer any) {
	t.Helper()
	switch a := answer.(type) {
	case *leyline.KernelArtifactReady:
		content, err := os.ReadFile(a.GetArtifactRef())
		if err != nil || artifact.Checksum(content) != a.GetChecksum() || !strings.HasSuffix(a.GetArtifactRef(), ".onnx") {
			t.Errorf("announced %v, found %q, %v", a, content, err)
		}
	case *leyline.KernelArtifactError:
		if a.GetReason() != "missing_artifact" {
			t.Errorf("refused with %s", a.GetReason())
		}
	}
}

// A damaged file is quarantined while a save puts a good one in its place: the good
// one must survive, whoever comes first.
func TestQuarantineNeverTakesTheGoodFile(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		saver, reader := openTest(t, cfg), openTest(t, cfg)
		for range 30 {
			saved := save(t, saver, "BP001", "kernel")
			flipBit(t, saved.GetArtifactRef())
			var group sync.WaitGroup
			group.Go(func() { save(t, saver, "BP001", "kernel") })
			group.Go(func() { _ = reader.Verify(context.Background(), "BP001") }) // either verdict is right
			group.Wait()
			wantReady(t, ask(t, NewPrefetcher(reader, PrefetchConfig{}), "BP001"), saved.GetChecksum())
		}
	})
}
