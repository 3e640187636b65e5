package kasmina

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func ledgerAt(t *testing.T, path string, capacity int, now time.Time) *ledger {
	t.Helper()
	l, err := openLedger(path, capacity, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l
}

func spend(t *testing.T, l *ledger, id string, now time.Time) int {
	t.Helper()
	removed, err := l.spend(id, now, now)
	if err != nil {
		t.Fatal(err)
	}
	return removed
}

func TestNonceIsValidForFiveMinutes(t *testing.T) {
	t.Parallel()
	l := ledgerAt(t, "", 8, noon)
	spend(t, l, "a", noon)
	if !l.replayed("a", noon.Add(nonceTTL-time.Millisecond)) {
		t.Error("forgotten too early")
	}
	if l.replayed("a", noon.Add(nonceTTL)) || l.size() != 0 || l.evictions != 1 {
		t.Errorf("still known: size %d, evictions %d", l.size(), l.evictions)
	}
}

func TestRestartDoesNotMakeCommandsReplayable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state", "nonces")
	first := ledgerAt(t, path, 8, noon)
	spend(t, first, "a", noon)
	spend(t, first, "b", noon.Add(time.Second))
	second := ledgerAt(t, path, 8, noon.Add(2*time.Second)) // the first was never closed: a crash
	for _, id := range []string{"a", "b"} {
		if !second.replayed(id, noon.Add(2*time.Second)) {
			t.Errorf("%s can be replayed", id)
		}
	}
	if second.replayed("c", noon.Add(2*time.Second)) {
		t.Error("c was never spent")
	}
	third := ledgerAt(t, path, 8, noon.Add(nonceTTL))
	if third.size() != 1 || third.replayed("a", noon.Add(nonceTTL)) {
		t.Errorf("expired nonces came back: %d", third.size())
	}
}

func TestTornLedgerTailIsLeftOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nonces")
	l := ledgerAt(t, path, 8, noon)
	spend(t, l, "a", noon)
	spend(t, l, "b", noon)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) + 1 {
		write(t, path, whole[:cut])
		torn := ledgerAt(t, path, 8, noon)
		want := max(0, cut-len(ledgerMagic)) / ledgerRecordSize
		if torn.size() != want {
			t.Fatalf("cut at %d: %d nonces, want %d", cut, torn.size(), want)
		}
		spend(t, torn, "c", noon)
		if again := ledgerAt(t, path, 8, noon); !again.replayed("c", noon) {
			t.Fatalf("cut at %d: a nonce spent after the tear is lost", cut)
		}
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedRecordCostsOnlyItself(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nonces")
	l := ledgerAt(t, path, 8, noon)
	spend(t, l, "a", noon)
	spend(t, l, "b", noon)
	content, _ := os.ReadFile(path)
	content[len(ledgerMagic)+3] ^= 1
	write(t, path, content)
	damaged := ledgerAt(t, path, 8, noon)
	if damaged.replayed("a", noon) || !damaged.replayed("b", noon) {
		t.Error("the wrong record was left out")
	}
}

func TestForeignFileIsNotOverwritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nonces")
	precious := bytes.Repeat([]byte("precious "), 20)
	write(t, path, precious)
	if _, err := openLedger(path, 8, noon); err == nil {
		t.Fatal("a foreign file was taken for a ledger")
	}
	if content, _ := os.ReadFile(path); !bytes.Equal(content, precious) {
		t.Error("the foreign file was changed")
	}
}

func TestLedgerIsCheckedWithoutBeingMade(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "ledger")
	if err := CheckLedger(path); err != nil {
		t.Errorf("a ledger that is not there yet: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the check made a ledger: %v", err)
	}
	spend(t, ledgerAt(t, path, 4, noon), "command", noon)
	if err := CheckLedger(path); err != nil {
		t.Errorf("a ledger: %v", err)
	}
	if err := os.WriteFile(path, []byte("something else altogether"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{path, folder} {
		if err := CheckLedger(wrong); err == nil {
			t.Errorf("%s is a ledger", wrong)
		}
	}
}

func TestForgottenNoncesStayUnusable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nonces")
	l := ledgerAt(t, path, 1, noon)
	spend(t, l, "a", noon)
	if removed := spend(t, l, "b", noon.Add(time.Second)); removed != 1 || l.size() != 1 {
		t.Errorf("removed %d, size %d", removed, l.size())
	}
	if now := noon.Add(time.Second); !l.belowFloor(noon, now) || l.belowFloor(now, now) {
		t.Errorf("floor is %v", l.floor)
	}
	for range 5 {
		again := ledgerAt(t, path, 1, noon.Add(time.Second))
		if !again.belowFloor(noon, noon.Add(time.Second)) {
			t.Fatal("a restart lowered the floor")
		}
	}
}

func TestLedgerFileStaysSmall(t *testing.T) {
	t.Parallel()
	const capacity = 16
	path := filepath.Join(t.TempDir(), "nonces")
	l := ledgerAt(t, path, capacity, noon)
	for i := range 10 * capacity {
		spend(t, l, strconv.Itoa(i), noon.Add(time.Duration(i)*time.Second))
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(len(ledgerMagic) + (3*capacity)*ledgerRecordSize); info.Size() > limit {
		t.Errorf("file has %d bytes, more than %d", info.Size(), limit)
	}
}

// Whatever is spent, swept, truncated and reopened: an identifier spent within
// the freshness window is refused, as a replay or as below the floor.
func TestNothingSpentIsUsableAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(dir, strconv.Itoa(rapid.IntRange(0, 1<<30).Draw(rt, "file")))
		defer os.Remove(path)
		l, err := openLedger(path, 4, noon)
		if err != nil {
			rt.Fatal(err)
		}
		now, spent := noon, map[string]time.Time{}
		for i := range rapid.IntRange(1, 30).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds")) * time.Second)
			if rapid.IntRange(0, 3).Draw(rt, "reopen") == 0 {
				_ = l.close()
				if l, err = openLedger(path, 4, now); err != nil {
					rt.Fatal(err)
				}
			}
			id := strconv.Itoa(i)
			if _, err := l.spend(id, now, now); err != nil {
				rt.Fatal(err)
			}
			spent[id] = now
			for id, issued := range spent {
				if now.Sub(issued) <= time.Minute && !l.replayed(id, now) && !l.belowFloor(issued, now) {
					rt.Fatalf("%s, issued %v ago, could be used again", id, now.Sub(issued))
				}
			}
		}
		_ = l.close()
	})
}

func FuzzLedgerFile(f *testing.F) {
	good := appendNonce([]byte(ledgerMagic), spentNonce{key: nonce{1}, issued: noon, expires: noon.Add(nonceTTL)})
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte("something else"))
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, err := decodeLedger(content)
		if err == nil && len(entries) > len(content)/ledgerRecordSize {
			t.Fatalf("%d entries out of %d bytes", len(entries), len(content))
		}
	})
}
