package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFlippedBitIsSetAsideAndHealed follows one damaged kernel file.
func TestFlippedBitIsSetAsideAndHealed(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	sound := w.ask("sound", compiled, patience)
	damaged := flipBit(t, sound.artifactRef)

	// A file that was looked at is trusted for a moment.
	requests := 0
	eventually(t, "the damage is noticed", patience, func() bool {
		requests++
		return w.ask(fmt.Sprintf("damaged %d", requests), compiled, patience).cause == "checksum_mismatch"
	})
	if got := w.ask("damaged again", compiled, patience); got.kind != typeError || got.cause != "checksum_mismatch" {
		t.Errorf("a later request got %+v, want the error checksum_mismatch", got)
	}
	if got := w.kernels()[compiled]; got.Checksum != sound.checksum {
		t.Errorf("the row of the damaged kernel is %+v, want checksum %s", got, sound.checksum)
	}
	if _, err := os.Stat(sound.artifactRef); err == nil {
		t.Error("the damaged file is still in its place")
	}
	if path := findContent(t, filepath.Join(w.folder, "var"), damaged); !strings.Contains(path, "quarantine") {
		t.Errorf("the damaged file is kept as %q, want it in quarantine", path)
	}
	if got := w.ask("others are served", "BP002", patience); got.cause == "checksum_mismatch" {
		t.Errorf("another kernel got %+v", got)
	}

	w.stop()
	w.bootForged()
	healed := w.ask("healed", compiled, patience)
	if healed.kind != typeReady || healed.checksum != sound.checksum {
		t.Errorf("after the restart the answer is %+v, want checksum %s", healed, sound.checksum)
	}
	if sum := fileChecksum(t, healed.artifactRef); sum != sound.checksum {
		t.Errorf("the healed file has checksum %s, want %s", sum, sound.checksum)
	}
	if path := findContent(t, filepath.Join(w.folder, "var"), damaged); path == "" {
		t.Error("the evidence was deleted")
	}
}

// flipBit damages a file and returns the checksum of what it is now.
func flipBit(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 0x01
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// findContent returns the path of the file with a checksum, "" when none has it.
func findContent(t testing.TB, folder, checksum string) (found string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && fileChecksum(t, path) == checksum {
			found = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
