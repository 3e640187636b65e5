package e2e

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// dev is a service in dev mode.
type dev struct {
	*process

	exports map[string]string
	page    string // host:port
}

// startDev starts one beside a REDIS_URL that leads nowhere, and reads what it prints.
func startDev(t *testing.T, folder string, args ...string) *dev {
	t.Helper()
	environ := []string{
		"REDIS_URL=redis://127.0.0.1:1/0", "ESPER_LEYLINE_SECRET=" + secret,
		"WEATHERLIGHT_HTTP_ADDR=" + freeport.Must(t), "NISSA_HTTP_ADDR=" + freeport.Must(t), "OONA_MESAGE_TTL_MS=1",
	}
	d := &dev{process: launch(t, folder, environ, service, args...), exports: map[string]string{}}
	eventually(t, "dev mode says that a trainer can join", patience, func() bool {
		if !d.running() {
			t.Fatalf("it ended with exit code %d", d.Code())
		}
		return strings.Contains(d.stdout.String(), "\nfolder ")
	})
	for line := range strings.Lines(d.stdout.String()) {
		if pair, found := strings.CutPrefix(strings.TrimSpace(line), "export "); found {
			name, value, _ := strings.Cut(pair, "=")
			d.exports[name] = value
		}
	}
	d.page = strings.TrimPrefix(d.exports["NISSA_URL"], "http://")
	return d
}

// environ is what whoever joins has set.
func (d *dev) environ() (pairs []string) {
	for name, value := range d.exports {
		pairs = append(pairs, name+"="+value)
	}
	return pairs
}

// end stops it as somebody at the terminal does.
func (d *dev) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	d.signal(signal)
	if code, took := d.exit(stopBound); code != 0 {
		t.Errorf("%s ends dev mode with exit code %d after %s", signal, code, took)
	}
}

// TestDevModeIsOneCommandThatATrainerCanJoin lets a network of another process grow with what
// the command prints, and looks at it on the page.
func TestDevModeIsOneCommandThatATrainerCanJoin(t *testing.T) {
	begin(t)
	folder := t.TempDir()
	d := startDev(t, folder, "--dev")
	if d.exports["ESPER_LEYLINE_SECRET"] == secret || len(d.exports["ESPER_LEYLINE_SECRET"]) < 20 {
		t.Errorf("the secret is %q", d.exports["ESPER_LEYLINE_SECRET"])
	}
	mustNotSay(t, "the log", d.stderr.String(), d.exports["ESPER_LEYLINE_SECRET"])
	mustSay(t, "dev mode", d.stdout.String(), "goes at the end; --dev-dir keeps one") // --dir is another command's
	if said := strings.Count(d.stderr.String(), "OONA_MESAGE_TTL_MS"); said != 1 {
		t.Errorf("of a name that nobody reads it warns %d times", said)
	}
	trainerFolder := t.TempDir()
	environ := slices.DeleteFunc(d.environ(), func(pair string) bool { return strings.HasPrefix(pair, "WEATHERLIGHT_HTTP") })
	run(t, trainerFolder, environ, "esperctl", "demo", "--join", "--repeats", "1", "--json")
	var answer struct {
		Runs []struct {
			ID    string
			Seeds map[string]int
		}
	}
	mustGet(t, d.page, "/api/runs", &answer)
	if len(answer.Runs) != 1 || len(answer.Runs[0].Seeds) == 0 {
		t.Errorf("the page shows %+v", answer)
	}
	if code, _, err := get(d.exports["WEATHERLIGHT_HTTP_ADDR"], "/readyz"); err != nil || code != http.StatusOK {
		t.Errorf("/readyz after the trainer has gone: %d, %v", code, err)
	}
	for _, noun := range []string{"kernels", "blueprints", "policy", "runs"} {
		if said := run(t, trainerFolder, d.environ(), "esperctl", noun, "list", "--json"); !strings.HasPrefix(said, "[") && !strings.HasPrefix(said, "{") {
			t.Errorf("esperctl %s list: %s", noun, said)
		}
	}
	if said := run(t, trainerFolder, d.environ(), "esperctl", "kernels", "list"); !strings.Contains(said, "BP0") {
		t.Errorf("of the kernels of dev mode esperctl says %s", said)
	}
	acked := launch(t, trainerFolder, d.environ(), "esperctl", "alarms", "ack", "none")
	if code, _ := acked.exit(patience); strings.Contains(acked.stderr.String(), "TOKEN") {
		t.Errorf("whoever pasted what it printed may not acknowledge: exit code %d, %s", code, acked.stderr.String())
	}
	d.end(t, syscall.SIGINT)
	mustBeEmpty(t, filepath.Join(folder, "tmp"))
	if _, err := os.Stat(filepath.Join(folder, "var")); err == nil {
		t.Error("dev mode wrote into the folder it was started in")
	}
}

// TestDevModeGoesOnInAFolderThatIsKept: with the same secret, kernels and runs. A terminal that is
// closed ends it like Ctrl-C.
func TestDevModeGoesOnInAFolderThatIsKept(t *testing.T) {
	begin(t)
	folder := t.TempDir()
	kept := filepath.Join(folder, "kept")
	first := startDev(t, folder, "--dev-dir", kept)
	first.end(t, syscall.SIGHUP)
	second := startDev(t, folder, "--dev-dir", kept)
	if got := second.exports["ESPER_LEYLINE_SECRET"]; got != first.exports["ESPER_LEYLINE_SECRET"] {
		t.Errorf("the secret was %s and is %s", first.exports["ESPER_LEYLINE_SECRET"], got)
	}
	second.end(t, syscall.SIGTERM)
	mustBeEmpty(t, filepath.Join(folder, "tmp"))
}

// TestDevModeThatCannotShowItsPageSaysWhy and leaves nothing behind.
func TestDevModeThatCannotShowItsPageSaysWhy(t *testing.T) {
	begin(t)
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	folder := t.TempDir()
	p := launch(t, folder, []string{"WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0", "NISSA_HTTP_ADDR=" + taken.Addr().String()}, service, "--dev")
	if code, _ := p.exit(patience); code != exitDependency {
		t.Errorf("exit code %d", code)
	}
	mustSay(t, "dev mode", p.stderr.String(), service+": open Nissa's page", "in use", taken.Addr().String(), "set NISSA_HTTP_ADDR to another port")
	mustBeEmpty(t, filepath.Join(folder, "tmp"))
	unread := launchUnread(t, t.TempDir(), []string{"WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0", "NISSA_HTTP_ADDR=127.0.0.1:0"}, service, "--dev")
	if code, _ := unread.exit(patience); code != 1 {
		t.Errorf("nobody reads what it prints: exit code %d", code)
	}
	mustBeEmpty(t, filepath.Join(unread.cmd.Dir, "tmp"))
}
