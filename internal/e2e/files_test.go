package e2e

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// replacements put something else in the place of a file.
var replacements = map[string]func(path string) error{
	"a pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
	"/dev/zero": func(path string) error { return os.Symlink("/dev/zero", path) },
	"64 GiB": func(path string) error {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		return os.Truncate(path, 64<<30)
	},
}

// checkBound and bootBound are how long the check and the boot may take over a file.
const (
	checkBound = 20 * time.Second
	bootBound  = 40 * time.Second
)

// leftFiles are the files that a service left, but for the kernels: those are looked at
// when somebody asks for them.
func leftFiles(t testing.TB, folder string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && !strings.HasSuffix(path, ".onnx") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	return paths
}

// TestR42NoFileHoldsUpTheBootTheCheckOrTheStop: a pipe in the place of a file hung the
// boot, the check and the stop, and /dev/zero took 6 GB. What it comes to is the file's
// business; that it comes to it in time, and within its memory, is not.
func TestR42NoFileHoldsUpTheBootTheCheckOrTheStop(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "ESPER_LEYLINE_SECRET=", "ESPER_LEYLINE_SECRET_FILE="+filepath.Join(w.folder, "var", "secret"))
	if err := os.MkdirAll(filepath.Join(w.folder, "var"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"secret": secret, "../.env": "TAMIYO_POLICY_DIR=./var/tamiyo/policies\n"} {
		if err := os.WriteFile(filepath.Join(w.folder, "var", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.bootForged()
	w.stop()
	for _, path := range append(leftFiles(t, filepath.Join(w.folder, "var")), filepath.Join(w.folder, ".env"),
		filepath.Join(w.folder, "var/tamiyo/policies/active.json")) {
		for name, replace := range replacements {
			what := name + " as " + strings.TrimPrefix(path, w.folder)
			aside := path + ".aside"
			if err := os.Rename(path, aside); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := replace(path); err != nil {
				t.Fatal(err)
			}
			w.checkAndBoot(what)
			_ = os.Remove(path)
			if err := os.Rename(aside, path); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
}

// checkAndBoot wants both to end, or the boot to be ready and to stop.
func (w *world) checkAndBoot(what string) {
	w.t.Helper()
	check := launch(w.t, w.folder, w.environ, service, "--check")
	checked, took := check.end(what+": the check", checkBound)
	if checked < 0 {
		return
	}
	w.process = launch(w.t, w.folder, w.environ, service)
	begun := time.Now()
	for w.process.running() && w.logged("ready") == nil && time.Since(begun) < bootBound {
		select {
		case <-w.process.ended:
		case <-time.After(10 * time.Millisecond):
		}
	}
	booted := time.Since(begun)
	peak := 0
	if w.process.running() {
		peak = w.process.peak()
		w.process.signal(syscall.SIGTERM)
	}
	code, stopped := w.process.end(what+": the stop", stopBound)
	w.t.Logf("%s: --check %d in %s, boot %s, %d MiB, exit %d in %s", what, checked, took.Round(time.Millisecond),
		booted.Round(time.Millisecond), peak, code, stopped.Round(time.Millisecond))
	if code != 0 && code != exitDependency && code != exitConfiguration || booted >= bootBound || peak > memoryBound {
		w.t.Errorf("%s: exit %d, the boot took %s and %d MiB", what, code, booted, peak)
	}
}

// end is exit without the end of the test: -1 for a process that had to be killed.
func (p *process) end(what string, within time.Duration) (code int, took time.Duration) {
	p.t.Helper()
	begun := time.Now()
	select {
	case <-p.ended:
		return p.Code(), time.Since(begun)
	case <-time.After(within):
		p.t.Errorf("%s has not ended within %s", what, within)
		p.kill()
		return -1, within
	}
}

// TestR42StopWithTheBusDownIsClean: nothing of ours failed.
func TestR42StopWithTheBusDownIsClean(t *testing.T) {
	begin(t)
	for name, down := range map[string]func(w *world){
		"killed": func(w *world) { w.redis.Kill(); w.t.Cleanup(w.redis.Restart) },
		"frozen": func(w *world) { w.redis.Freeze(); w.t.Cleanup(w.redis.Thaw) },
	} {
		w := newWorld(t)
		w.boot()
		shown := launch(t, t.TempDir(), append(w.environ, "NISSA_HTTP_ADDR=127.0.0.1:0"), nissaService)
		eventually(t, "Nissa has started", patience, func() bool { return strings.Contains(shown.stderr.String(), "nissa started") })
		down(w)
		eventually(t, "/readyz says 503", patience, func() bool { code, _ := w.get("/readyz"); return code == http.StatusServiceUnavailable })
		for which, p := range map[string]*process{"the service": w.process, "Nissa": shown} {
			p.signal(syscall.SIGTERM)
			code, took := p.end(which+" with the bus "+name, 2*stopBound)
			t.Logf("bus %s: %s ended with %d after %s", name, which, code, took)
			if code != 0 || took > stopBound+2*time.Second { // the time of a stop, and some for the machine
				t.Errorf("bus %s: %s ended with %d after %s: %s", name, which, code, took, reportLines(p.stderr.String()))
			}
		}
	}
	early := newWorld(t)
	early.redis.Freeze()
	t.Cleanup(early.redis.Thaw)
	for _, which := range []string{service, nissaService} {
		p := launch(t, t.TempDir(), append(early.environ, "NISSA_HTTP_ADDR=127.0.0.1:0"), which)
		eventually(t, "the boot has begun", patience, func() bool { return strings.Contains(p.stderr.String(), `"settings"`) })
		p.signal(syscall.SIGTERM)
		if code, took := p.end(which+" at its boot", stopBound); code != 0 {
			t.Errorf("%s at its boot ended with %d after %s: %s", which, code, took, reportLines(p.stderr.String()))
		}
	}
}
