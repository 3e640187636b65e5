package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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

func TestWhatIsNoRegularFileIsNotReplaced(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	pipe, socket := filepath.Join(folder, "pipe"), filepath.Join(folder, "socket")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mknod(socket, syscall.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"to a pipe": pipe, "to a folder": "/", "to nothing": "none"} {
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{pipe, socket, filepath.Join(folder, "to a pipe"),
		filepath.Join(folder, "to a folder"), filepath.Join(folder, "to nothing")} {
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := atomicfile.WriteFile(path, []byte("content"), 0o600); err == nil {
			t.Errorf("%s was written", path)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was replaced: %v, %v", path, after, err)
		}
	}
}

func TestLinkStaysAndWhatItLeadsToIsWritten(t *testing.T) {
	t.Parallel()
	elsewhere, folder := t.TempDir(), t.TempDir()
	file, link := filepath.Join(elsewhere, "file"), filepath.Join(folder, "link")
	unfinished := filepath.Join(elsewhere, ".file.1.tmp")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o600), os.Symlink(file, link),
		os.WriteFile(unfinished, nil, 0o600), atomicfile.Sweep(link)); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.WriteFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "new" {
		t.Errorf("the file has %q, %v", content, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is %v, %v", info, err)
	}
	wantFiles(t, elsewhere, "file")
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
