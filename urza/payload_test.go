package urza

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// What is too large for the bus lies beside the kernels, under its checksum.
func TestR16PayloadIsKeptUnderItsChecksum(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		dir := t.TempDir()
		content := bytes.Repeat([]byte("policy"), 100<<10)
		sum, err := openTest(t, config(dir)).SavePayload(t.Context(), content)
		if err != nil {
			t.Fatal(err)
		}
		library := openTest(t, config(dir)) // another process
		read := func() ([]byte, error) {
			file, err := library.OpenPayload(t.Context(), sum)
			if err != nil {
				return nil, err
			}
			defer file.Close()
			return io.ReadAll(file)
		}
		if got, err := read(); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if records, err := library.List(t.Context()); err != nil || len(records) != 0 {
			t.Errorf("it counts as a kernel: %v, %v", records, err)
		}
		if _, err := library.OpenPayload(t.Context(), "../"+sum); !errors.Is(err, ErrNotFound) {
			t.Errorf("a path for a checksum: %v", err)
		}
		file, err := filepath.Glob(filepath.Join(config(dir).ArtifactDir, sum+".*"))
		if err != nil || len(file) != 1 {
			t.Fatalf("files %v, %v", file, err)
		}
		flipBit(t, file[0])
		if _, err := read(); !errors.Is(err, ErrChecksumMismatch) {
			t.Errorf("damaged: %v", err)
		}
		if err := os.Remove(file[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := read(); !errors.Is(err, ErrArtifactMissing) {
			t.Errorf("gone: %v", err)
		}
	})
}
