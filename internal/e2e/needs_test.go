package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/pgtest"
)

// resumeBound is how long after the return of what was away the first of what waited
// for it may take.
const resumeBound = 2 * time.Second

// alarms are those that /status tells of, each with its detail.
func (w *world) alarms() map[string]string {
	w.t.Helper()
	var status struct {
		State  string
		Reason string
		Alarms []struct{ Alarm, Subject, Detail string }
	}
	_, body := w.get("/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		w.t.Fatalf("/status: %v\n%s", err, body)
	}
	raised := map[string]string{}
	for _, a := range status.Alarms {
		raised[a.Alarm] += a.Subject + ": " + a.Detail + "\n"
	}
	return raised
}

// mustTell waits until /readyz says that the service does not take work, with the cause, and
// an alarm says so too.
func (w *world) mustTell(alarm, cause string) {
	w.t.Helper()
	var code int
	var body string
	eventually(w.t, "/readyz is 503 and names "+cause, patience, func() bool {
		code, body = w.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, cause)
	})
	eventually(w.t, "the alarm "+alarm+" names "+cause, patience, func() bool { return strings.Contains(w.alarms()[alarm], cause) })
	_, page := w.get("/status")
	if strings.Contains(page, `"state":"ready"`) {
		w.t.Errorf("/status says ready while /readyz says %s", body)
	}
}

// ready waits until nothing hinders the service any more.
func (w *world) ready() {
	w.t.Helper()
	eventually(w.t, "/readyz is 200 again", patience, func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusOK
	})
}

// requests sends requests for the blueprints in turn, one every 25 ms, until enough says
// so, and returns their ids.
func (w *world) requests(name string, blueprints []string, enough func(sent int) bool) (ids []string) {
	w.t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !enough(len(ids)) {
		id := fmt.Sprintf("%s %d", name, len(ids))
		w.request(id, blueprints[len(ids)%len(blueprints)])
		ids = append(ids, id)
		<-tick.C
	}
	return ids
}

// bootCold boots a service with a full library of which it remembers nothing, and
// returns what the library holds.
func (w *world) bootCold() (blueprints []string) {
	w.t.Helper()
	w.bootForged()
	blueprints = slices.Sorted(maps.Keys(w.kernels()))
	w.stop()
	w.environ = append(w.environ, "TEZZERET_FORGE_ON_START=false")
	w.boot()
	return blueprints
}

// mustLoseNothing checks that all were answered once, and nothing was given up.
func (w *world) mustLoseNothing(ids []string) {
	w.t.Helper()
	w.settled(streamRequests, patience)
	w.mustBeAnsweredOnce(ids)
	if n := w.bus.length(streamDeadLetter); n != 0 {
		w.t.Errorf("%d dead letters: %.300v", n, w.bus.entries(streamDeadLetter)[0].fields)
	}
}

// away is a way in which a database can be out of reach.
type away struct {
	begin, end func(*testing.T, *pgtest.Server, *faultproxy.Proxy)
	lasts      time.Duration
	bound      time.Duration // from its end to the last answer
}

func waysOfBeingAway() map[string]away {
	kill := func(t *testing.T, database *pgtest.Server, _ *faultproxy.Proxy) {
		t.Helper()
		if err := database.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	restart := func(t *testing.T, database *pgtest.Server, _ *faultproxy.Proxy) {
		t.Helper()
		if err := database.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	set := func(fault faultproxy.Fault) func(*testing.T, *pgtest.Server, *faultproxy.Proxy) {
		return func(_ *testing.T, _ *pgtest.Server, way *faultproxy.Proxy) { way.Set(fault) }
	}
	over := set(faultproxy.Fault{})
	return map[string]away{
		"killed for 3 s":  {kill, restart, 3 * time.Second, resumeBound},
		"killed for 15 s": {kill, restart, 15 * time.Second, resumeBound},
		"frozen":          {set(faultproxy.Fault{Freeze: true}), over, 15 * time.Second, resumeBound},
		"half-open":       {set(faultproxy.Fault{HalfOpen: true}), over, 15 * time.Second, 0}, // a connection that is dead by then has its second to answer
	}
}

// R29: a library that was away for 3 s cost 120 of 120 requests, and those for 22 s after.
func TestR29RequestsOutliveAnOutageOfTheirLibrary(t *testing.T) {
	t.Parallel()
	for name, how := range waysOfBeingAway() {
		t.Run(name, func(t *testing.T) {
			begin(t)
			database := pgtest.Start(t)
			way, err := faultproxy.Start(database.Addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = way.Close() })
			w := newWorld(t)
			w.environ = append(w.environ, "URZA_DATABASE_URL="+strings.Replace(database.URL(""), database.Addr, way.Addr(), 1))
			blueprints := w.bootCold()
			how.begin(t, database, way)
			begun := time.Now()
			ids := w.requests("away", blueprints, func(int) bool { return time.Since(begun) > time.Second })
			w.mustTell("work_paused", "catalogue")
			ids = append(ids, w.requests("still away", blueprints, func(int) bool { return time.Since(begun) > how.lasts })...)
			how.end(t, database, way)
			back := time.Now()
			w.await(ids[len(ids)-1], patience)
			took(t, "library away", "PostgreSQL "+name+" answers to the last request that waited is answered", time.Since(back), how.bound)
			ids = append(ids, w.requests("back", blueprints, func(n int) bool { return n == 40 })...)
			w.mustLoseNothing(ids)
			w.ready()
			w.stop()
		})
	}
}

// R29: 38 of 40 requests to a library whose file was damaged, and mended while it ran.
func TestR29RequestsOutliveADamagedCatalogue(t *testing.T) {
	begin(t)
	w := newWorld(t)
	blueprints := w.bootCold()
	path := filepath.Join(w.folder, "var", "urza", "catalog.db")
	sound := fileContent(t, path)
	overwrite(t, path, []byte(strings.Repeat("damaged ", len(sound)/8)))
	damaged := time.Now()
	ids := w.requests("damaged", blueprints, func(int) bool { return time.Since(damaged) > 8*time.Second })
	w.mustTell("work_paused", "catalogue")
	overwrite(t, path, sound)
	back := time.Now()
	w.await(ids[len(ids)-1], patience)
	took(t, "library away", "SQLite file mended to the last request that waited is answered", time.Since(back), resumeBound)
	w.mustLoseNothing(ids)
	w.ready()
	w.stop()
}

// overwrite changes the content of a file that somebody has open.
func overwrite(t *testing.T, path string, content []byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
}

// R31: a user without a right that answers need: no answer, no alarm, /readyz 200.
func TestR31AnswersThatMayNotBeCommittedAreToldAndWait(t *testing.T) {
	t.Parallel()
	for _, right := range []string{"xadd", "xack", "set"} {
		t.Run(right, func(t *testing.T) {
			begin(t)
			w := newWorld(t)
			w.bootForged()
			w.stop()
			w.bus.do("ACL", "SETUSER", "service", "on", ">pw", "~*", "&*", "+@all")
			w.environ = append(w.environ, "REDIS_URL=redis://service:pw@"+w.redis.Addr+"/0")
			w.boot() // which would refuse to start without the right
			w.bus.do("ACL", "SETUSER", "service", "-"+right)
			ids := w.requests("refused", []string{compiled, "BP002"}, func(n int) bool { return n == 20 })
			w.mustTell("answers_refused", "user ") // ... may not
			w.bus.do("ACL", "SETUSER", "service", "+"+right)
			back := time.Now()
			w.await(ids[0], patience)
			took(t, "answers refused", "the right to "+right+" is given to a request that waited is answered", time.Since(back), resumeBound)
			w.mustLoseNothing(ids)
			w.ready()
			w.stop()
		})
	}
}

// smallDisk is a folder on a disk that a test can fill.
func smallDisk(t *testing.T) (folder string, fill, free func()) {
	t.Helper()
	folder = t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", folder).Run(); err != nil {
		// Who may not mount is not root either, and heeds permissions.
		chmod := func(mode os.FileMode) func() {
			return func() {
				if err := os.Chmod(filepath.Join(folder, "policies"), mode); err != nil {
					t.Error(err)
				}
			}
		}
		return folder, chmod(0o500), chmod(0o700)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", folder).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	filler := filepath.Join(folder, "filler")
	fill = func() {
		file, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for chunk := make([]byte, 4096); err == nil; {
			_, err = file.Write(chunk)
		}
	}
	return folder, fill, func() {
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
}

// R34: a policy update that met a full disk was given up in 4 s, and never taken up.
func TestR34PolicyUpdateIsTakenUpOnceThereIsRoom(t *testing.T) {
	begin(t)
	disk, fill, free := smallDisk(t)
	w := newWorld(t)
	w.environ = append(w.environ, "TEZZERET_FORGE_ON_START=false", "TAMIYO_POLICY_DIR="+filepath.Join(disk, "policies"))
	w.boot()
	eventually(t, "the service leads", patience, w.leads)
	fill()
	payload := stringField(varintField(nil, 1, 1), 2, "policy")
	payload = stringField(payload, 5, "v2")
	payload = bytesField(payload, 6, []byte(strings.Repeat("policy ", 5000)))
	update := envelope(typePolicy, payload)
	w.bus.do(addCommand(streamPolicy, update, sign(secret, update))...)
	filled := time.Now()
	w.mustTell("work_paused", disk) // /readyz names the disk, or what cannot be written there
	eventually(t, "the disk has been full for 8 s", patience, func() bool { return time.Since(filled) > 8*time.Second })
	if n := w.bus.length(streamDeadLetter); n != 0 {
		t.Fatalf("%d dead letters: %.300v", n, w.bus.entries(streamDeadLetter)[0].fields)
	}
	free()
	back := time.Now()
	eventually(t, "the policy is in force", patience, func() bool {
		text, err := os.ReadFile(filepath.Join(disk, "policies", "active.json"))
		return err == nil && strings.Contains(string(text), `"v2"`)
	})
	took(t, "full disk", "there is room to a policy update that waited is in force", time.Since(back), resumeBound)
	w.ready()
	w.stop()
}

// R31: announcements that may not be published waited on disk for ever, and the service
// said that it was well.
func TestR31OutboxThatStandsStillIsTold(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bus.do("ACL", "SETUSER", "service", "on", ">pw", "~*", "&*", "+@all")
	w.environ = append(w.environ, "REDIS_URL=redis://service:pw@"+w.redis.Addr+"/0")
	w.boot() // the forge has only just begun
	w.bus.do("ACL", "SETUSER", "service", "resetkeys", "%R~*", "~oona:*", "~weatherlight:*", "~oona.normal", "~oona.telemetry",
		"~oona.kernels.requests", "~oona.emergency", "~oona.policy", "~"+streamDeadLetter)
	refused := time.Now()
	eventually(t, "the alarm names the outbox", patience, func() bool { return strings.Contains(w.alarms()["work_stuck"], "outbox: ") })
	took(t, "outbox stands still", "the right to announce kernels is taken to the alarm", time.Since(refused), 0)
	if code, body := w.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz is %d, and what came in was served: %s", code, body)
	}
	w.bus.do("ACL", "SETUSER", "service", "resetkeys", "~*")
	eventually(t, "the alarm ends", patience, func() bool { return w.alarms()["work_stuck"] == "" })
	w.awaitForged()
	announced := func() bool { return len(w.catalogUpdates()) >= len(w.kernels()) }
	eventually(t, "all kernels are announced", patience, announced)
	w.stop()
}
