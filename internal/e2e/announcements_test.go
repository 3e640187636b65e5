package e2e

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// journalled are the checksums, by blueprint, that the journal of the forge says were
// announced.
func (w *world) journalled() map[string]string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.folder, "var", "weatherlight", "forge-journal.jsonl"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // the forge has not begun
		w.t.Fatal(err)
	}
	announced := map[string]string{}
	for line := range strings.Lines(string(text)) {
		var entry struct{ Op, Blueprint, Checksum string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Op == "announced" { // a kill may cut a line short
			announced[entry.Blueprint] = entry.Checksum
		}
	}
	return announced
}

// unannounced are those of some kernels that are not on the bus.
func (w *world) unannounced(kernels map[string]string) (ids []string) {
	w.t.Helper()
	onBus := w.catalogUpdates()
	for id, sum := range kernels {
		if onBus[id] != sum {
			ids = append(ids, id)
		}
	}
	return ids
}

// mustBeAnnounced boots, and waits until all that was journalled before, and all that the
// library holds, is on the bus.
func (w *world) mustBeAnnounced(journalled map[string]string) {
	w.t.Helper()
	// What a kill left behind is no reason against a start.
	run(w.t, w.folder, w.environ, service, "--check")
	w.boot()
	eventually(w.t, "all that was journalled is announced", patience, func() bool { return len(w.unannounced(journalled)) == 0 })
	w.awaitForged()
	held := map[string]string{}
	for id, kernel := range w.kernels() {
		held[id] = kernel.Checksum
	}
	eventually(w.t, "all that the library holds is announced", patience, func() bool { return len(w.unannounced(held)) == 0 })
	w.stop()
}

// R13: an announcement was journalled as taken once it was queued in memory: of a forge
// without a bus all were lost, whether the service was killed or stopped. R33: the check
// called what a kill had left malformed.
func TestR13R33AnnouncementsSurviveABusThatIsDown(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*process){
		"killed":  (*process).kill,
		"stopped": func(p *process) { p.signal(syscall.SIGTERM); p.exit(2 * stopBound) },
	} {
		t.Run(name, func(t *testing.T) {
			begin(t)
			w := newWorld(t, redistest.AOF()...)
			w.boot()
			w.redis.Kill()
			w.bus.close()
			w.awaitForged()
			end(w.process)
			w.redis.Restart()
			journalled := w.journalled()
			waiting := len(w.unannounced(journalled))
			if waiting == 0 {
				t.Fatalf("all of %d are announced: the bus was not missed", len(journalled))
			}
			t.Logf("%d of %d wait in the outbox", waiting, len(journalled))
			w.mustBeAnnounced(journalled)
		})
	}
}

// R13: with a bus that pauses and a kill at any moment, most announcements were lost.
func TestR13AnnouncementsSurviveAPauseOfTheBusAndAKill(t *testing.T) {
	t.Parallel()
	const rounds = 4
	for range rounds {
		t.Run("round", func(t *testing.T) {
			begin(t)
			w := newWorld(t, redistest.AOF()...)
			w.boot()
			t.Cleanup(w.redis.Thaw)
			wanted := rand.IntN(10)
			eventually(t, "some are journalled", patience, func() bool { return len(w.journalled()) >= wanted })
			w.redis.Freeze()
			paused, length := time.Now(), time.Duration(rand.Int64N(int64(700*time.Millisecond)))
			eventually(t, "the bus has been away for a while", patience, func() bool { return time.Since(paused) > length })
			w.process.kill()
			w.redis.Thaw()
			journalled := w.journalled()
			t.Logf("killed after %s: %d of %d wait in the outbox", length, len(w.unannounced(journalled)), len(journalled))
			w.mustBeAnnounced(journalled)
		})
	}
}
