package outbox_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/oona/outbox"
)

func TestFileIsCheckedAndLeftAsItIs(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "outbox.db")
	if err := outbox.Check(t.Context(), file); err != nil {
		t.Errorf("an outbox that is not there yet: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the check made an outbox: %v", err)
	}
	box := open(t, outbox.Config{File: file})
	if err := box.Put(t.Context(), report("waits")); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Check(t.Context(), file); err != nil {
		t.Errorf("an outbox in use: %v", err)
	}
	other := filepath.Join(folder, "other.db")
	if err := os.WriteFile(other, []byte("no database, whatever it is called, and long enough to be one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{other, folder} {
		if err := outbox.Check(t.Context(), wrong); err == nil {
			t.Errorf("%s is an outbox", wrong)
		}
	}
}

// tear leaves the first page of a database half written, as a kill amid a checkpoint does
// on a full disk. Its log has the whole page.
func tear(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const header = 100
	clear(content[header:])
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a process that was killed left may lie in the log beside the file.
func TestR33OutboxOfAProcessThatWasKilledIsSound(t *testing.T) {
	folder, after := t.TempDir(), t.TempDir()
	file := filepath.Join(folder, "outbox.db")
	box := open(t, outbox.Config{File: file})
	for range 20 {
		if err := box.Put(t.Context(), report("waits")); err != nil {
			t.Fatal(err)
		}
		// What is on the disk now is what a kill would leave.
		for _, part := range []string{"", "-wal"} {
			content, err := os.ReadFile(file + part)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(after, "outbox.db"+part), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		tear(t, filepath.Join(after, "outbox.db"))
		if err := outbox.Check(t.Context(), filepath.Join(after, "outbox.db")); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(after); err != nil || len(left) != 2 {
		t.Errorf("the check leaves %v, %v", left, err)
	}
	if waiting, _, err := open(t, outbox.Config{File: filepath.Join(after, "outbox.db")}).Waiting(t.Context()); err != nil || waiting != 20 {
		t.Errorf("%d wait, %v", waiting, err)
	}
	after = t.TempDir()
	if err := os.WriteFile(filepath.Join(after, "outbox.db"), bytes.Repeat([]byte("x"), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(after, "outbox.db-wal"), []byte("not a log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := outbox.Open(t.Context(), outbox.Config{File: filepath.Join(after, "outbox.db")}); err == nil {
		t.Fatal("a damaged one is opened")
	}
	if err := outbox.Check(t.Context(), filepath.Join(after, "outbox.db")); err == nil {
		t.Error("a damaged one is sound")
	}
}

func TestOutboxThatCannotBeCopiedIsNotCalledDamaged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "outbox.db")
	if err := open(t, outbox.Config{File: file}).Put(t.Context(), report("waits")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "not there"))
	if err := outbox.Check(t.Context(), file); !errors.Is(err, outbox.ErrUnchecked) {
		t.Errorf("got %v", err)
	}
}
