//go:build release

package infra

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/notifytest"
	"github.com/esper-lite/weatherlight/internal/redistest"
)

// system is the root of a machine with nothing on it but the package, with a service manager that only notes what it
// is told. dpkg runs the package's own scripts there.
type system struct {
	t      testing.TB
	folder string
}

func newSystem(t testing.TB) system {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("dpkg installs as root alone")
	}
	s := system{t: t, folder: t.TempDir()}
	for _, folder := range []string{"bin", "run/systemd/system", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		if err := os.MkdirAll(s.path(folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("var/lib/dpkg/status", "", 0o644)
	s.write("bin/systemctl", "#!/bin/sh\necho \"$@\" >>"+s.path("told")+"\n", 0o755)
	return s
}

func (s system) path(inside string) string { return filepath.Join(s.folder, inside) }

func (s system) write(inside, text string, mode os.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(s.path(inside), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// dpkg returns what the service manager was told meanwhile.
func (s system) dpkg(args ...string) string {
	s.t.Helper()
	s.write("told", "", 0o644)
	path := "PATH=" + s.path("bin") + ":" + os.Getenv("PATH")
	run(s.t, ".", []string{path}, "dpkg", append([]string{"--root=" + s.folder, "--force-script-chrootless"}, args...)...)
	return read(s.t, s.path("told"))
}

func (s system) has(inside string) bool {
	_, err := os.Stat(s.path(inside))
	return err == nil
}

// newer is the package as a later release would have it.
func newer(t testing.TB, pkg string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "package")
	run(t, ".", nil, "dpkg-deb", "-R", pkg, folder)
	control := filepath.Join(folder, "DEBIAN", "control")
	text := regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAllString(read(t, control), "Version: 999")
	if err := os.WriteFile(control, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, ".", nil, "dpkg-deb", "-Znone", "-b", folder, folder+".deb")
	return folder + ".deb"
}

func TestReleasePackageIsInstalledUpgradedAndRemoved(t *testing.T) {
	const (
		settings = "etc/esper/weatherlight.env"
		kernels  = "var/lib/private/esper/kernels"
		both     = "esper-weatherlight.service esper-nissa.service"
	)
	s, pkg := newSystem(t), artifact(t, "esper-weatherlight_*_amd64.deb")
	if told := s.dpkg("--install", pkg); told != "daemon-reload\n" {
		t.Errorf("a first installation starts what has no secret: %q", told)
	}
	if info, err := os.Stat(s.path(settings)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the settings may be read by others: %v, %v", info, err)
	}
	own := "ESPER_LEYLINE_SECRET=" + secret + "\n"
	s.write(settings, own, 0o600)
	if err := os.MkdirAll(s.path(kernels), 0o755); err != nil {
		t.Fatal(err)
	}
	if told := s.dpkg("--install", newer(t, pkg)); told != "daemon-reload\ntry-restart "+both+"\n" {
		t.Errorf("an upgrade tells the service manager %q", told)
	}
	if got := read(t, s.path(settings)); got != own {
		t.Errorf("after an upgrade the settings are %q", got)
	}
	if told := s.dpkg("--remove", "esper-weatherlight"); told != "--no-reload disable --now "+both+"\ndaemon-reload\n" {
		t.Errorf("a removal tells the service manager %q", told)
	}
	if s.has("usr/bin/esperctl") || !s.has(settings) || !s.has(kernels) {
		t.Errorf("a removal leaves the commands, or takes what is not its own")
	}
	s.dpkg("--purge", "esper-weatherlight")
	if s.has(settings) || !s.has(kernels) {
		t.Error("a purge leaves the secret, or takes the kernels")
	}
	if err := os.RemoveAll(s.path("run")); err != nil {
		t.Fatal(err)
	}
	if told := s.dpkg("--install", pkg); told != "" {
		t.Errorf("without a service manager it is told %q", told)
	}
}

// The services are started as their units say, from the files that the package installed, with the settings that an
// operator wrote into its file.
func TestReleasePackageRuns(t *testing.T) {
	s, server := newSystem(t), redistest.Start(t)
	s.dpkg("--install", artifact(t, "esper-weatherlight_*_amd64.deb"))
	at := map[string]string{"esper-weatherlight": freeport.Must(t), "esper-nissa": freeport.Must(t)}
	s.write("etc/esper/weatherlight.env", strings.Join([]string{
		"ESPER_LEYLINE_SECRET=" + secret, "REDIS_URL=redis://" + server.Addr + "/0", "TEZZERET_FORGE_ON_START=false",
		"WEATHERLIGHT_HTTP_ADDR=" + at["esper-weatherlight"], "NISSA_HTTP_ADDR=" + at["esper-nissa"],
	}, "\n"), 0o600)
	for _, name := range []string{"esper-weatherlight", "esper-nissa"} {
		t.Run(name, func(t *testing.T) {
			manager := notifytest.Listen(t)
			unit := read(t, s.path("usr/lib/systemd/system/"+name+".service"))
			start := value(t, unit, "ExecStart")
			if complaint := verify(t, name+".service", strings.ReplaceAll(unit, start, s.path(start))); complaint != "" {
				t.Errorf("systemd-analyze verify: %s", complaint)
			}
			if said := run(t, ".", nil, s.path(start), "--version"); !strings.HasPrefix(said, filepath.Base(start)+" "+built(t)+" go") {
				t.Errorf("%s says %q", start, said)
			}
			process := s.service(t, unit)
			manager.Hear("READY=1", 1)
			mustBeReady(t, at[name])
			mustTellItsBuild(t, at[name])
			stopIn(t, process, unit)
		})
	}
}

// mustTellItsBuild looks for the version and the commit in what Prometheus reads.
func mustTellItsBuild(t testing.TB, addr string) {
	t.Helper()
	response, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	revision := strings.TrimSpace(run(t, "..", nil, "git", "rev-parse", built(t)))
	if told := fmt.Sprintf("revision=%q,version=%q} 1", revision, built(t)); !strings.Contains(string(page), told) {
		t.Errorf("/metrics does not say %s", told)
	}
}

func mustBeReady(t testing.TB, addr string) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); ; <-poll.C {
		response, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			t.Fatal(err) // it has said that it is there
		}
		_ = response.Body.Close() // nothing of it is wanted
		if response.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("/readyz says %s", response.Status)
		}
	}
}

// service starts what a unit names, in the folder that the unit gives it.
func (s system) service(t testing.TB, unit string) *exec.Cmd {
	t.Helper()
	folder := s.path(value(t, unit, "WorkingDirectory"))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	process := exec.Command(s.path(value(t, unit, "ExecStart")))
	process.Dir, process.Stderr = folder, os.Stderr
	process.Env = append([]string{"NOTIFY_SOCKET=" + os.Getenv("NOTIFY_SOCKET")},
		strings.Split(read(t, s.path(value(t, unit, "EnvironmentFile"))), "\n")...)
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill() })
	return process
}

// stopIn stops a process as the service manager does, which kills it after the time that the unit gives it.
func stopIn(t testing.TB, process *exec.Cmd, unit string) {
	t.Helper()
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	killed := make(chan struct{})
	stop := time.AfterFunc(seconds(t, unit, "TimeoutStopSec"), func() {
		defer close(killed)
		_ = process.Process.Kill()
	})
	err := process.Wait()
	if !stop.Stop() {
		<-killed
	}
	if err != nil {
		t.Errorf("stopped: %v", err)
	}
}
