package outbox_test

import (
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
