package regularfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

func TestRead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if content, err := regularfile.Read(path, 5); err != nil || string(content) != "12345" {
		t.Errorf("%q, %v", content, err)
	}
	if content, err := regularfile.Read(path, 4); !errors.Is(err, regularfile.ErrTooLarge) {
		t.Errorf("%q, %v", content, err)
	}
	if _, err := regularfile.Read(path+"?", 5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestFileThatIsTooLargeIsNotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Fatal(err)
	}
	if content, err := regularfile.Read(path, 1<<39); !errors.Is(err, regularfile.ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

func TestWhatIsNoRegularFileIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder, pipe, os.DevNull} {
		if _, err := regularfile.Read(path, 5); !errors.Is(err, regularfile.ErrNotRegular) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
