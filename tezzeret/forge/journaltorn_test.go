package forge

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

// A disk that was full and has room again has cut one line short; what is written
// after it must not become part of it.
func TestLineAfterATornOneIsNotLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(path, newJournalState(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	working, full := j.file, mustOpen(t, "/dev/full")
	j.file = full
	stored, err := storedEntry(&leyline.KernelCatalogUpdate{BlueprintId: "BP001", Checksum: "c"}, "digest")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.append(stored); err == nil {
		t.Fatal("a full disk took a line")
	}
	if _, err := working.WriteString(`{"op":"stored","bluepr`); err != nil { // as much as found room
		t.Fatal(err)
	}
	j.file = working
	for range 2 {
		if err := j.append(stored); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openJournal(path, newJournalState(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if update, waits := again.pending(); !waits || update.GetBlueprintId() != "BP001" {
		t.Errorf("the announcement is lost: %v", update)
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func TestBlankLinesOfAJournalAreNoFault(t *testing.T) {
	lines, _ := newJournalState().takeLines([]byte("\n\n{\"op\":\"built\",\"blueprint\":\"BP001\"}\n"), func(line int, err error) {
		t.Errorf("line %d: %v", line, err)
	})
	if lines != 3 {
		t.Errorf("%d lines", lines)
	}
}
