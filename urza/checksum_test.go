package urza

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// wantOpened reads an artifact by its checksum.
func wantOpened(t *testing.T, library *Library, content string) {
	t.Helper()
	opened, size, err := library.OpenChecksum(context.Background(), artifact.Checksum([]byte(content)))
	if err != nil {
		t.Errorf("%s: %v", content, err)
		return
	}
	defer opened.Close()
	text, err := io.ReadAll(opened)
	if err != nil || string(text) != content || size != int64(len(content)) {
		t.Errorf("%q of %d bytes, %v, want %q", text, size, err, content)
	}
}

// A path is good on one machine only.
func TestR6KernelsAreFoundByTheirChecksum(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		ctx := context.Background()
		dir := t.TempDir()
		library := openTest(t, config(dir))
		save(t, library, "BP001", "own kernel")
		pickled := &leyline.KernelCatalogUpdate{ArtifactRef: "BP002.pt"}
		if _, err := library.Save(ctx, descriptor("BP002"), []byte("pickled"), pickled, nil); err != nil {
			t.Fatal(err)
		}
		wantVariant(t, forging(library, &testForge{}), "BP001", variantOf(7))
		// The prototype names artifacts after blueprints, and may note no checksum.
		save(t, library, "BP003", "to be replaced")
		prototype := filepath.Join(dir, "BP003.pt")
		if err := os.WriteFile(prototype, []byte("of the prototype"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, content := range []string{"own kernel", "pickled", string(variantContent("BP001", variantOf(7)))} {
			wantOpened(t, library, content)
		}
		sum := artifact.Checksum([]byte("of the prototype"))
		if _, _, err := library.OpenChecksum(ctx, sum); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		point(t, library, "BP003", prototype, sum)
		wantOpened(t, library, "of the prototype")

		for _, unknown := range []string{"", "../catalog.db", strings.Repeat("0", 64), strings.ToUpper(sum), sum + "0", "' OR 1=1"} {
			if _, _, err := library.OpenChecksum(ctx, unknown); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %v", unknown, err)
			}
		}
	})
}

func TestKernelThatIsNotForUseIsNotOpened(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		ctx := context.Background()
		library := openTest(t, config(t.TempDir()))
		saved := save(t, library, "BP001", "kernel")
		for _, c := range []struct {
			name string
			do   func() error
			want error
		}{
			{"set aside", func() error { return library.SetAside(ctx, "BP001", "") }, ErrWithheld},
			{"released", func() error { return library.Release(ctx, "BP001") }, nil},
			{"damaged", func() error { flipBit(t, saved.GetArtifactRef()); return nil }, ErrChecksumMismatch},
			{"in quarantine", func() error { return nil }, ErrChecksumMismatch},
			{"saved again", func() error { save(t, library, "BP001", "kernel"); return nil }, nil},
			{"removed", func() error { return os.Remove(saved.GetArtifactRef()) }, ErrArtifactMissing},
			{"replaced by another", func() error { save(t, library, "BP001", "another kernel"); return nil }, ErrNotFound},
		} {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
			content, _, err := library.OpenChecksum(ctx, saved.GetChecksum())
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
			if err == nil {
				if err := content.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// What several blueprints share is there while one of them may be used.
func TestSharedKernelIsOpenedForWhoeverMayUseIt(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	save(t, library, "BP001", "same bytes")
	save(t, library, "BP002", "same bytes")
	if err := library.SetAside(context.Background(), "BP001", ""); err != nil {
		t.Fatal(err)
	}
	wantOpened(t, library, "same bytes")
}

// Of several kernels with one checksum, what is said of none of them must not be what
// the last one happened to be: a library that does not answer may have it after all.
func TestStrongestReasonWhyNoKernelOfAChecksumIsServed(t *testing.T) {
	set := func(column, value string) func(*testing.T, *Library, string) {
		return func(t *testing.T, library *Library, id string) {
			t.Helper()
			mustExec(t, library, `UPDATE urza_variants SET `+column+` = $1 WHERE blueprint_id = $2`, value, id)
		}
	}
	other := filepath.Join(t.TempDir(), "other.onnx")
	if err := os.WriteFile(other, []byte("other bytes"), 0o644); err != nil {
		t.Fatal(err)
	}
	states := []struct { // the strongest first
		want error
		make func(t *testing.T, library *Library, id string)
	}{
		{ErrUnreadable, set("artifact_path", "s3://bucket/kernel.onnx")}, // no such store is configured
		{ErrWithheld, func(t *testing.T, library *Library, id string) {
			t.Helper()
			if err := library.SetAside(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
		}},
		{ErrChecksumMismatch, set("artifact_path", other)},
		{ErrArtifactMissing, set("artifact_path", other+".gone")},
		{ErrNotFound, set("metadata_json", "{")},
	}
	for i, strong := range states {
		for _, weak := range states[i:] {
			for _, order := range [][2]string{{"BP001", "BP002"}, {"BP002", "BP001"}} {
				library := openTest(t, testConfig(t.TempDir()))
				sum := ""
				for _, id := range order {
					forged := Forged{Descriptor: descriptor(id), Artifact: []byte("same bytes")}
					saved, err := library.SaveVariant(t.Context(), variantOf(7), forged)
					if err != nil {
						t.Fatal(err)
					}
					sum = saved.GetChecksum()
				}
				strong.make(t, library, order[0])
				weak.make(t, library, order[1])
				if _, _, err := library.OpenChecksum(t.Context(), sum); !errors.Is(err, strong.want) {
					t.Errorf("%v of %s and %v of %s: %v", strong.want, order[0], weak.want, order[1], err)
				}
			}
		}
	}
}

func TestKernelsOfAMovedStoreAreFound(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	save(t, openTest(t, cfg), "BP001", "kernel of the folder")
	cfg = objectConfig(s3test.Start(t), cfg)
	library := openTest(t, cfg)
	save(t, library, "BP002", "kernel of the bucket")
	wantOpened(t, library, "kernel of the folder")
	wantOpened(t, library, "kernel of the bucket")
}
