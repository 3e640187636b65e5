package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What cannot be a kernel is refused by its looks: it is not read into memory, and
// nobody waits for a pipe.
func TestImportOfWhatIsNoKernelTakesNeitherMemoryNorTime(t *testing.T) {
	folder := t.TempDir()
	sparse := func(name string, size int64) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		sparse("huge.pt", 3<<30):      "more than 1073741824",
		sparse("big.ONNX", 16<<20+1):  "the ONNX profile",
		pipe:                          "not a regular file",
		folder:                        "not a regular file",
		filepath.Join(folder, "none"): "no such file",
	} {
		answer := make(chan error, 1)
		go func() {
			answer <- importKernel(t.Context(), importing{file: file, blueprint: "BP001"}, io.Discard)
		}()
		select {
		case err := <-answer:
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", file, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the import waits", file)
		}
	}
}
