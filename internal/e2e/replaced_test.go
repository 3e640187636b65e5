package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is removed under a running service is told, and nothing is written to it that
// would be gone with the process: a request that needs the catalogue waits.
func TestFilesThatAreRemovedUnderTheService(t *testing.T) {
	begin(t)
	w := newWorld(t)
	blueprints := w.bootCold()
	for _, name := range []string{
		"var/weatherlight/outbox.db", "var/weatherlight/weatherlight.lock", "var/tamiyo/field_reports.log", "var/urza/catalog.db",
	} {
		path := filepath.Join(w.folder, name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the alarm names "+name, patience, func() bool {
			return strings.Contains(w.alarms()["files_replaced"]+w.alarms()["library_down"], filepath.Base(name))
		})
		if full, raised := w.alarms()["disk_full"]; raised {
			t.Errorf("without %s the disk is said to be full: %s", name, full)
		}
		ids := []string(nil)
		if strings.Contains(name, "catalog") {
			gone := time.Now()
			ids = w.requests("gone", blueprints, func(int) bool { return time.Since(gone) > time.Second })
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		w.ready()
		w.mustLoseNothing(ids)
	}
	w.stop()
}
