package catalogue

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// A connection keeps the pages that it read from a damaged file; what has mended the file
// is no commit, which would tell it to read them again.
func TestMendedFileIsReadAgainByEveryConnection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.db")
	c, err := Open(t.Context(), Config{URL: "sqlite:///" + file, MaxVariants: 2, Slow: 1 << 40, Failures: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const rows = 2_000
	for i := range rows {
		if err := c.writeOne(t.Context(), "insert", `INSERT INTO blueprints (blueprint_id, name, tier, artifact_path, metadata_json)
			VALUES ($1, 'name', 1, 'path', '{}')`, fmt.Sprint("b", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	c.db.SetMaxIdleConns(0) // none has cached a page yet
	c.db.SetMaxIdleConns(6)
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lookups := func() (failed int) {
		var mu sync.Mutex
		var looking sync.WaitGroup
		for i := range rows {
			looking.Go(func() {
				if _, err := c.Row(t.Context(), Key{ID: fmt.Sprint("b", i)}); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed++
				}
			})
		}
		looking.Wait()
		return failed
	}
	overwrite(t, file, bytes.Repeat([]byte("damaged "), len(sound)/8)[:len(sound)-8192], 8192)
	if lookups() == 0 {
		t.Fatal("no look-up met the damage")
	}
	overwrite(t, file, sound, 0)
	if failed := lookups(); failed > 0 {
		t.Errorf("%d of %d look-ups fail in a file that is mended", failed, rows)
	}
}

func overwrite(t *testing.T, file string, content []byte, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, at); err != nil {
		t.Fatal(err)
	}
}

func TestCatalogueWhoseFileIsGoneAnswersAndTakesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, "sqlite:///"+file)
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, regularfile.ErrReplaced) || !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("ping: %v", err)
	}
	if err := c.writeOne(t.Context(), "touch", "DELETE FROM blueprints"); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("write: %v", err)
	}
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("ping once it is back: %v", err)
	}
}
