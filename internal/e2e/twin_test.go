package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// twin is a world whose data folder is a copy of this one's, under the same name.
func (w *world) twin() *world {
	w.t.Helper()
	other := w.second()
	other.environ = slices.Clip(w.environ)
	if err := os.CopyFS(filepath.Join(other.folder, "var"), os.DirFS(filepath.Join(w.folder, "var"))); err != nil {
		w.t.Fatal(err)
	}
	return other
}

// Two processes with one name led in turns, a second each, and both said that they were well.
func TestSecondProcessOfOneIdentityDisplacesTheFirst(t *testing.T) {
	t.Parallel()
	for name, clone := range map[string]func(*world) *world{
		"a copy of the data folder": (*world).twin,
		"the lock files are gone": func(w *world) *world {
			for _, lock := range []string{"weatherlight/weatherlight.lock", "tamiyo/weatherlight.lock", "urza/catalog.db.lock"} {
				_ = os.Remove(filepath.Join(w.folder, "var", lock)) // not all may be there
			}
			same := *w
			same.process = nil
			return &same
		},
	} {
		t.Run(name, func(t *testing.T) {
			begin(t)
			first := newWorld(t)
			first.environ = append(first.environ, "TEZZERET_FORGE_ON_START=false")
			first.boot()
			second := clone(first)
			second.boot()
			booted := time.Now()
			eventually(t, "the first is told of the other", patience, func() bool {
				code, _ := first.get("/readyz")
				detail := first.alarms()["lease_lost"]
				return code == http.StatusServiceUnavailable && strings.Contains(detail, "from a copy of this one's data folder")
			})
			took(t, "place lost", "a second process of one identity starts to /readyz 503 and the alarm of the first", time.Since(booted), 0)
			for range 12 { // requests, in three renewals at least
				ids := second.requests("twin "+time.Now().String(), []string{missing}, func(n int) bool { return n == 10 })
				second.await(ids[9], patience)
				if first.leads() || !second.leads() {
					t.Fatalf("leads: the first %v, the second %v", first.leads(), second.leads())
				}
			}
			if code, _ := first.get("/readyz"); code != http.StatusServiceUnavailable {
				t.Errorf("/readyz of the first is %d", code)
			}
			second.stop()
			eventually(t, "the first has its place again", patience, func() bool { return first.alarms()["lease_lost"] == "" && first.leads() })
			first.stop()
		})
	}
}
