package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
)

// bootSteps is the list that docs/architecture.md shows.
var bootSteps = []string{
	"data folder and HTTP listener", "oona connection", "streams and groups", "urza catalogue", "urza prefetch worker",
	"kasmina coordinator", "tamiyo and command consumer", "tezzeret forge", "loops", "ready",
}

// cannotRead has the server take this service's reads of a stream for those of a key of
// another type. An access list would show before the step that reads it.
func (w *world) cannotRead(stream string) (setting string) {
	w.t.Helper()
	proxy, err := faultproxy.Start(w.redis.Addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = proxy.Close() })
	decoy := strings.Repeat("x", len(stream))
	w.bus.do("SET", decoy, "no stream")
	name := `(` + regexp.QuoteMeta(stream) + `)(\r\n`
	read := regexp.MustCompile(`(XREADGROUP\r\n\$5\r\nGROUP\r\n\$\d+\r\n` + group + `\r\n(?:\$\d+\r\n[^$]*\r\n)*?\$\d+\r\n)` + name + `)`)
	pending := regexp.MustCompile(`(XPENDING\r\n\$\d+\r\n)` + name + `\$\d+\r\n` + group + `\r\n)`)
	proxy.Misread(func(request []byte) []byte {
		return pending.ReplaceAll(read.ReplaceAll(request, []byte("${1}"+decoy+"${3}")), []byte("${1}"+decoy+"${3}"))
	})
	return "REDIS_URL=redis://" + proxy.Addr() + "/0"
}

// A way to make a step fail from outside. Nothing outside can make step 8 fail: it
// opens nothing and waits for nobody. Package weatherlight fails each by hand.
var bootFailures = []struct {
	step   string
	spoil  func(w *world) (setting string)
	causes string
}{
	{bootSteps[0], func(w *world) string { return "WEATHERLIGHT_DATA_DIR=" + w.file("data") }, "data"},
	{bootSteps[1], func(*world) string { return "REDIS_URL=redis://127.0.0.1:1/0" }, "127.0.0.1:1"},
	{bootSteps[1], func(w *world) string { w.bus.do("SET", streamRequests, "no stream"); return "" }, "WRONGTYPE"},
	{bootSteps[1], func(w *world) string {
		w.bus.do("ACL", "SETUSER", "reader", "on", ">"+password, "~*", "&*", "+@all", "-xreadgroup")
		return "REDIS_URL=redis://reader:" + password + "@" + w.redis.Addr + "/0"
	}, "XREADGROUP oona.normal"},
	{bootSteps[2], func(w *world) string {
		w.bus.do("HSET", "oona:members:"+group, "member:e2e", "99999999999999 somebody born {}")
		return ""
	}, "WEATHERLIGHT_INSTANCE"},
	{bootSteps[3], func(w *world) string { return "URZA_DATABASE_URL=sqlite:///" + w.file("catalog.db") }, "catalog.db"},
	{bootSteps[3], func(*world) string { return "URZA_DATABASE_URL=postgres://u:" + password + "@127.0.0.1:1/db" }, "connection refused"},
	{bootSteps[4], func(w *world) string { return w.cannotRead(streamRequests) }, "urza_prefetch"},
	{bootSteps[5], func(w *world) string { return w.cannotRead(streamReady) }, "kasmina_prefetch"},
	{bootSteps[6], func(w *world) string { return "TAMIYO_POLICY_DIR=" + w.file("policies") }, "policies"},
	{bootSteps[8], func(w *world) string { return w.cannotRead(streamEmergency) }, "emergency_stream"},
	{bootSteps[9], func(w *world) string { return "NOTIFY_SOCKET=" + filepath.Join(w.folder, "nobody") }, "service manager"},
}

// file is a file where a folder, or a database, should be.
func (w *world) file(name string) (path string) {
	w.t.Helper()
	path = filepath.Join(w.folder, name)
	if err := os.WriteFile(path, []byte("neither a folder nor a database, whatever it is called"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// TestEachBootStepThatFailsEndsWithItsNameAndExitThree fails one step after the
// other. What the steps before it started must have been stopped backwards, and be
// off the bus.
func TestEachBootStepThatFailsEndsWithItsNameAndExitThree(t *testing.T) {
	begin(t)
	worlds := make([]*world, len(bootFailures))
	for i, failure := range bootFailures {
		w := newWorld(t)
		w.environ = append(w.environ, "ESP_LOG_LEVEL=DEBUG", "TEZZERET_FORGE_ON_START=false", failure.spoil(w))
		w.process = launch(t, w.folder, w.environ, service)
		worlds[i] = w
	}
	for i, failure := range bootFailures {
		w := worlds[i]
		if code, _ := w.process.exit(patience); code != exitDependency {
			t.Errorf("%s: exit code %d, want %d", failure.step, code, exitDependency)
		}
		line, _, _ := strings.Cut(reportLines(w.process.stderr.String()), "\n")
		mustSay(t, "the first line", line, `boot step "`+failure.step+`"`, failure.causes)
		mustNotSay(t, failure.step, line, password)
		w.mustHaveRolledBack(failure.step)
	}
}

// mustHaveRolledBack reads the log of a boot that failed in a step.
func (w *world) mustHaveRolledBack(step string) {
	w.t.Helper()
	var steps, started, stopped []string
	for _, record := range w.records() {
		worker, _ := record["worker"].(string)
		switch to, _ := record["to"].(string); {
		case record["msg"] == "boot step":
			steps = append(steps, record["step"].(string))
		case to == "starting" && !slices.Contains(started, worker):
			started = append(started, worker)
		case to == "stopped":
			stopped = append(stopped, worker)
		}
	}
	if want := bootSteps[:slices.Index(bootSteps, step)+1]; !slices.Equal(steps, want) {
		w.t.Errorf("%s: the boot took the steps %q", step, steps)
	}
	slices.Reverse(stopped)
	if !slices.Equal(started, stopped) {
		w.t.Errorf("%s: started %q\nstopped, reversed %q", step, started, stopped)
	}
}
