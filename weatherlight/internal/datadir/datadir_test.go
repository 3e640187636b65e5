package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

func TestSecondServiceOnOneFolderIsToldWhoHasIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // A refused holder must not spoil what the first wrote.
		_, err = Take(dir)
		var inUse *InUseError
		if !errors.As(err, &inUse) || inUse.PID != os.Getpid() || inUse.Dir != dir {
			t.Fatalf("second lock = %v, want InUseError of process %d", err, os.Getpid())
		}
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := Take(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := second.Release(); err != nil {
		t.Error(err)
	}
}

func TestServiceThatWasKilledLeavesNoStaleLock(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, lockFile), []byte("4194304999999999999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, lockFile))
	if err != nil || strings.Count(string(content), "\n") != 1 {
		t.Errorf("lock file %q, %v", content, err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

func TestLockWithoutReadablePidStillSaysWhichFolder(t *testing.T) {
	dir := t.TempDir()
	lock, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, lockFile), 0); err != nil {
		t.Fatal(err)
	}
	_, err = Take(dir)
	if want := "data folder " + dir + " is in use by another Weatherlight"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	var none *Lock
	if err := none.Release(); err != nil {
		t.Errorf("release of nothing: %v", err)
	}
}

func TestDataFolderThatCannotBeMadeIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Take(filepath.Join(file, "data"))
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v does not name %s", err, file)
	}
}

func TestFoldersAreTakenTogetherOrNotAtAll(t *testing.T) {
	data, reports := t.TempDir(), t.TempDir()
	held, err := Take(reports)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(data, reports)
	if inUse, ok := errors.AsType[*InUseError](err); !ok || inUse.Dir != reports || inUse.PID != os.Getpid() {
		t.Errorf("taken from another: %v", err)
	}
	if err := Try(data); err != nil {
		t.Errorf("the other folder is not given back: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	both, err := Take(data, reports, link) // one of them twice
	if err != nil {
		t.Fatal(err)
	}
	if err := both.Release(); err != nil {
		t.Error(err)
	}
}

func TestLockSaysThatItsFileIsGone(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	lock, err := Take(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.InPlace(); err != nil {
		t.Error(err)
	}
	for _, dir := range dirs { // a folder too: with it the lock is gone
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		if err := lock.InPlace(); !errors.Is(err, regularfile.ErrReplaced) || !strings.Contains(err.Error(), dir) {
			t.Errorf("without %s: %v", dir, err)
		}
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}
