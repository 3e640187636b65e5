package e2e

import (
	"os"
	"path/filepath"
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

// R33, R35: the check said ok to a bus that evicts what was acknowledged, to one that
// forbids the work, and to policies that the start cannot read.
func TestR33R35CheckExitsAsTheStartDoes(t *testing.T) {
	begin(t)
	for says, spoil := range map[string]func(w *world){
		"volatile-lru": func(w *world) {
			w.bus.do("CONFIG", "SET", "maxmemory", "1gb")
			w.bus.do("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
		},
		"XACK oona.normal": func(w *world) { w.bus.do("ACL", "SETUSER", "default", "-xack") },
		"active.json": func(w *world) {
			folder := filepath.Join(w.folder, "policies")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			w.environ = append(w.environ, "TAMIYO_POLICY_DIR="+folder)
			if err := os.WriteFile(filepath.Join(folder, "active.json"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		w := newWorld(t)
		spoil(w)
		for _, args := range [][]string{{"--check"}, nil} {
			p := launch(t, w.folder, w.environ, service, args...)
			if code, _ := p.exit(patience); code != exitDependency {
				t.Errorf("%s: %v exits with %d, want %d", says, args, code, exitDependency)
			}
			mustSay(t, "the command", p.stdout.String()+p.stderr.String(), says)
		}
	}
}
