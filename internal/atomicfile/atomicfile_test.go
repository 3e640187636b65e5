package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
)

func TestWriteFileReplacesTheWholeFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	for content, permissions := range map[string]fs.FileMode{"the longer of the two": 0o600, "short": 0o644} {
		if err := atomicfile.WriteFile(path, []byte(content), permissions); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, serr := os.Stat(path)
		if err != nil || serr != nil || string(got) != content || info.Mode().Perm() != permissions {
			t.Errorf("%q with %v, %v, %v; want %q with %v", got, info.Mode(), err, serr, content, permissions)
		}
	}
	wantFiles(t, folder, "file")
}

func TestWriteFileThatFailsLeavesWhatWasThere(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	taken := filepath.Join(folder, "taken")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.WriteFile(taken, []byte("content"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	if err := atomicfile.WriteFile(filepath.Join(folder, "none", "file"), nil, 0o600); err == nil {
		t.Error("a file was written into a folder that is not there")
	}
	wantFiles(t, folder, "taken")
}

func TestSyncDirOfNoFolderFails(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := atomicfile.SyncDir(folder); err != nil {
		t.Error(err)
	}
	if err := atomicfile.SyncDir(filepath.Join(folder, "none")); err == nil {
		t.Error("a folder that is not there was made durable")
	}
}

func wantFiles(t *testing.T, folder, name string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("the folder has %v, %v; want %s alone", entries, err, name)
	}
}

func TestSweepRemovesWhatAKillLeftAndNothingElse(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "log[1]") // a name that means something in a pattern
	stay := []string{"log[1]", "log[1].tmp", ".other.123.tmp", ".log1.5.tmp"}
	for _, name := range append(stay, ".log[1].123.tmp") {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := atomicfile.Sweep(path); err != nil {
		t.Fatal(err)
	}
	for _, name := range stay {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, ".log[1].123.tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a kill left: %v", err)
	}
	if err := atomicfile.Sweep(filepath.Join(folder, "none", "log")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestWritableFolderIsMadeAndLeftAsItWas(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := atomicfile.Writable(folder, ".probe-*.tmp"); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	if err := atomicfile.Writable("/proc/none", ".probe-*.tmp"); err == nil {
		t.Error("not even root may write there")
	}
}
