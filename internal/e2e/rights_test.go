package e2e

import (
	"slices"
	"strings"
	"testing"
)

// heard are the commands that a Redis was given, whether or not it took them.
func (w *world) heard() (names []string) {
	w.t.Helper()
	info, _ := w.bus.do("INFO", "commandstats").(string)
	for line := range strings.Lines(info) {
		if name, found := strings.CutPrefix(line, "cmdstat_"); found {
			name, _, _ = strings.Cut(name, ":")
			names = append(names, name)
		}
	}
	return names
}

// R31, R35: a right that a service needs and nobody asks for before the start shows when
// the work that needs it does not come to an end.
func TestR31R35CheckAsksForEveryCommandThatAServiceUses(t *testing.T) {
	begin(t)
	asked, used := newWorld(t), newWorld(t)
	run(t, asked.folder, asked.environ, service, "--check")
	used.environ = append(used.environ, "WEATHERLIGHT_HOUSEKEEPING_INTERVAL=1s")
	used.bootForged()
	p := used.trainer("rights-1")
	p.await(growth, fossilized)
	p.end()
	used.stop()
	known := asked.heard()
	if len(known) < 35 {
		t.Errorf("asked for %v", known)
	}
	for _, name := range used.heard() {
		// What the client library, a trainer and this test do beside.
		if !slices.Contains(known, name) && !slices.Contains([]string{"xread", "script|load", "client|setinfo", "info"}, name) {
			t.Errorf("%s is used, and not asked for", name)
		}
	}
}
