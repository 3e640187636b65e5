package urza

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// artifactFiles counts the kernels on the disk.
func artifactFiles(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "artifacts", "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// saveVariant stores a kernel of BP001 for a slot as a forge would hand it over.
func saveVariant(library *Library, size int, content string) (*leyline.KernelCatalogUpdate, error) {
	forged := Forged{Descriptor: descriptor("BP001"), Artifact: []byte(content)}
	return library.SaveVariant(context.Background(), variantOf(size), forged)
}

// aDayLater makes what was evicted look as if that had been long ago.
func aDayLater(t *testing.T, library *Library) {
	t.Helper()
	mustExec(t, library, `UPDATE urza_evicted SET evicted_at = $1`, time.Now().Add(-25*time.Hour).UnixMilli())
}

func wantPruned(t *testing.T, library *Library, want int) {
	t.Helper()
	if n, err := library.Prune(context.Background()); n != want || err != nil {
		t.Errorf("pruned %d, %v, want %d", n, err, want)
	}
}

func TestVariantThatWouldFindNoRoomIsNotMade(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		dir := t.TempDir()
		cfg := config(dir)
		cfg.MaxVariants = 1
		library, forge := openTest(t, cfg), &testForge{}
		prefetcher := forging(library, forge)
		wantVariant(t, prefetcher, "BP001", variantOf(7))
		for size := 8; size < 11; size++ {
			wantRefused(t, mustAnswer(t, prefetcher, size), "too_many_variants")
		}
		if made, files := forge.made.Load(), artifactFiles(t, dir); made != 1 || files != 1 {
			t.Errorf("%d kernels made, %d files, want one", made, files)
		}
		if state := library.Stats().Queries.Circuit; state != 1 {
			t.Errorf("a full library opened the breaker: %v", state)
		}
	})
}

func TestFileThatNoVariantRefersToGoes(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		for name, c := range map[string]struct {
			size int
			want error
			kept string
		}{
			"of a variant that found no room": {8, ErrTooManyVariants, "first"},
			"of a variant that was replaced":  {7, nil, "second"},
		} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				cfg := config(dir)
				cfg.MaxVariants = 1
				library := openTest(t, cfg)
				if _, err := saveVariant(library, 7, "first"); err != nil {
					t.Fatal(err)
				}
				if _, err := saveVariant(library, c.size, "second"); !errors.Is(err, c.want) {
					t.Fatal(err)
				}
				wantPruned(t, library, 0)
				aDayLater(t, library)
				wantPruned(t, library, 1)
				if files := artifactFiles(t, dir); files != 1 {
					t.Errorf("%d files, want one", files)
				}
				wantOpened(t, library, c.kept)
			})
		}
	})
}

func TestVariantThatIsSavedAgainKeepsItsFile(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	for range 2 {
		if _, err := saveVariant(library, 7, "same bytes"); err != nil {
			t.Fatal(err)
		}
	}
	aDayLater(t, library)
	wantPruned(t, library, 0)
	wantOpened(t, library, "same bytes")
}

// Whoever was told of a kernel may fetch it by its checksum for as long as its file
// stays, under the conditions of any other.
func TestKernelThatIsNotKeptIsServedWhileItsFileStays(t *testing.T) {
	secretFile, publicFile := keyPair(t)
	onEachDatabase(t, func(t *testing.T, config configFor) {
		for name, size := range map[string]int{"made room": 8, "replaced": 7} {
			t.Run(name, func(t *testing.T) {
				cfg := config(t.TempDir())
				cfg.MaxVariants, cfg.SigningKeyFile, cfg.TrustedKeys = 1, secretFile, []string{publicFile}
				library := openTest(t, cfg)
				told, err := saveVariant(library, 7, "told of")
				if err != nil {
					t.Fatal(err)
				}
				lastUsed(t, library, 7, 3*time.Hour)
				if _, err := saveVariant(library, size, "newer"); err != nil {
					t.Fatal(err)
				}
				wantOpened(t, library, "told of")
				wantOpened(t, library, "newer")
				followEvicted(t, library, told)
			})
		}
	})
}

// followEvicted goes through what may become of an evicted kernel until it is gone.
func followEvicted(t *testing.T, library *Library, told *leyline.KernelCatalogUpdate) {
	t.Helper()
	ctx := context.Background()
	ref := told.GetArtifactRef()
	signature := ref + ".minisig"
	for _, c := range []struct {
		name           string
		do             func() error
		opened, signed error
	}{
		{"set aside", func() error { return library.SetAside(ctx, "BP001", "") }, ErrWithheld, ErrWithheld},
		{"released", func() error { return library.Release(ctx, "BP001") }, nil, nil},
		{"unsigned", func() error { return os.Rename(signature, signature+".off") }, ErrUntrusted, ErrUntrusted},
		{"signed", func() error { return os.Rename(signature+".off", signature) }, nil, nil},
		{"damaged", func() error { flipBit(t, ref); return nil }, ErrChecksumMismatch, ErrChecksumMismatch},
		{"removed", func() error { return os.Remove(ref) }, ErrArtifactMissing, ErrArtifactMissing},
		{"a day later", func() error { aDayLater(t, library); _, err := library.Prune(ctx); return err }, ErrNotFound, ErrNotFound},
	} {
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		content, _, err := library.OpenChecksum(ctx, told.GetChecksum())
		if !errors.Is(err, c.opened) {
			t.Errorf("%s: opened with %v, want %v", c.name, err, c.opened)
		}
		if err == nil {
			if err := content.Close(); err != nil {
				t.Error(err)
			}
		}
		if text, err := library.Signature(ctx, told.GetChecksum()); !errors.Is(err, c.signed) || (err == nil) != (len(text) > 0) {
			t.Errorf("%s: signature %q, %v, want %v", c.name, text, err, c.signed)
		}
	}
}

// Of a file that was evicted before the library noted what it is, only its path is known.
func TestFilesThatAnEarlierReleaseEvictedGo(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		dir := t.TempDir()
		cfg := config(dir)
		old := openTest(t, cfg)
		evicted, err := saveVariant(old, 7, "evicted")
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{
			`DELETE FROM urza_variants`, `DROP TABLE urza_evicted`,
			`CREATE TABLE urza_evicted (artifact_path VARCHAR NOT NULL, evicted_at BIGINT NOT NULL, PRIMARY KEY (artifact_path))`,
			`DELETE FROM urza_schema_version WHERE version_id = 6`,
		} {
			mustExec(t, old, statement)
		}
		mustExec(t, old, `INSERT INTO urza_evicted VALUES ($1, 0)`, evicted.GetArtifactRef())
		library := openTest(t, cfg)
		if _, _, err := library.OpenChecksum(context.Background(), evicted.GetChecksum()); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		wantPruned(t, library, 1)
		if files := artifactFiles(t, dir); files != 0 {
			t.Errorf("%d files stay", files)
		}
	})
}
