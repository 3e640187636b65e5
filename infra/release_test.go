//go:build release

package infra

import (
	"debug/elf"
	"debug/macho"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/notifytest"
	"github.com/esper-lite/weatherlight/internal/redistest"
)

// release is what tools/release.sh built; it has these tests look at it.
var release = flag.String("release", "../dist", "`folder` of the release that is tested")

// artifact is the one file of the release that a pattern names.
func artifact(t testing.TB, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(*release, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s in %s: %q, %v", pattern, *release, files, err)
	}
	file, err := filepath.Abs(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// built is the version that the release has in its files' names.
func built(t testing.TB) string {
	t.Helper()
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(artifact(t, "weatherlight_*_image.tar.gz")), "weatherlight_"), "_image.tar.gz")
}

func unpacked(t testing.TB, archive string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	run(t, ".", nil, "tar", "-xzf", archive, "--strip-components=1", "-C", folder)
	return folder
}

func TestReleaseChecksumsNameEveryFile(t *testing.T) {
	run(t, *release, nil, "sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
	sums := read(t, *release, "SHA256SUMS")
	files, err := os.ReadDir(*release)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file.Name() != "SHA256SUMS" && !strings.Contains(sums, "  "+file.Name()+"\n") {
			t.Errorf("SHA256SUMS does not name %s", file.Name())
		}
	}
}

// Of each platform the commands load nothing, and come with the licences of what is in them.
func TestReleaseArchivesHoldStaticCommands(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join(*release, "weatherlight_*_*_*.tar.gz"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("%q, %v", archives, err)
	}
	for _, archive := range archives {
		folder := unpacked(t, archive)
		for _, name := range []string{"LICENSE", "NOTICE", "THIRD-PARTY-LICENCES"} {
			if read(t, folder, name) == "" {
				t.Errorf("%s: %s is empty", archive, name)
			}
		}
		_, platform, _ := strings.Cut(archive, built(t)+"_")
		for _, command := range readDockerfile(t).commands() {
			mustBeFor(t, strings.TrimSuffix(platform, ".tar.gz"), filepath.Join(folder, filepath.Base(command)))
		}
	}
}

func mustBeFor(t *testing.T, platform, file string) {
	t.Helper()
	switch platform {
	case "darwin_arm64":
		binary, err := macho.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer binary.Close()
		if binary.Cpu != macho.CpuArm64 {
			t.Errorf("%s is for %s", file, binary.Cpu)
		}
	case "linux_amd64", "linux_arm64":
		mustBeStatic(t, file)
		binary, err := elf.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer binary.Close()
		if want := map[string]elf.Machine{"linux_amd64": elf.EM_X86_64, "linux_arm64": elf.EM_AARCH64}[platform]; binary.Machine != want {
			t.Errorf("%s is for %s", file, binary.Machine)
		}
	default:
		t.Errorf("%s is for %s, of which nothing is known", file, platform)
	}
}

// A bill of materials names every module that the command says was linked in, and Go.
func TestReleaseBillsNameWhatIsLinkedIn(t *testing.T) {
	folder := unpacked(t, artifact(t, "weatherlight_*_linux_amd64.tar.gz"))
	for _, command := range readDockerfile(t).commands() {
		command = filepath.Base(command)
		var bill struct {
			BOMFormat  string
			Metadata   struct{ Component struct{ Version string } }
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal([]byte(read(t, artifact(t, command+"_*_linux_amd64.cdx.json"))), &bill); err != nil {
			t.Fatal(err)
		}
		if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != built(t) {
			t.Errorf("%s: %s of version %q", command, bill.BOMFormat, bill.Metadata.Component.Version)
		}
		named := make(map[string]bool)
		for _, component := range bill.Components {
			named[component.Name+" "+component.Version] = true
		}
		linked := regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(
			run(t, folder, nil, "go", "version", "-m", command), -1)
		if len(linked) < 10 || !named["std "+regexp.MustCompile(`go\d\S+`).FindString(run(t, folder, nil, "go", "version", command))] {
			t.Errorf("%s: %d modules, or no Go: %v", command, len(linked), named)
		}
		for _, module := range linked {
			if !named[module[1]+" "+module[2]] {
				t.Errorf("%s has %s %s, which its bill does not name", command, module[1], module[2])
			}
		}
	}
}

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

// The context is built into an image by a program that needs no engine. The image that it takes certificates from is
// made up: nothing here can fetch the real one.
func TestReleaseImageIsBuiltAndRuns(t *testing.T) {
	context := unpacked(t, artifact(t, "weatherlight_*_image.tar.gz"))
	store := t.TempDir()
	buildah := func(words ...string) string {
		t.Helper()
		printed, err := exec.Command("buildah", slices.Concat([]string{"--root", filepath.Join(store, "root"),
			"--runroot", filepath.Join(store, "run"), "--storage-driver", "vfs"}, words)...).Output()
		if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
			t.Fatalf("buildah %q: %v\n%s", words, err, failed.Stderr)
		} else if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(printed))
	}
	text := read(t, context, "Dockerfile")
	// BuildKit, which does not run here, takes a default for the architecture of every image.
	if !strings.Contains(text, "\nARG TARGETARCH\n") {
		t.Errorf("the architecture is not left to the builder:\n%s", text)
	}
	from := regexp.MustCompile(`(?m)^FROM (\S+) AS build$`).FindStringSubmatch(text)[1]
	base := t.TempDir()
	run(t, base, nil, "sh", "-c", "mkdir -p etc/ssl/certs && echo certificates >etc/ssl/certs/ca-certificates.crt && "+
		"printf 'FROM scratch\nCOPY etc /etc\n' >Dockerfile")
	held, err := filepath.Glob(filepath.Join(context, "*64"))
	if err != nil || !slices.Contains(held, filepath.Join(context, runtime.GOARCH)) {
		t.Fatalf("the context is for %q, %v", held, err)
	}
	for _, folder := range held {
		architecture := filepath.Base(folder)
		platform := "linux/" + architecture
		buildah("bud", "--isolation", "chroot", "--platform", platform, "-t", "docker.io/library/"+from, base)
		buildah("bud", "--isolation", "chroot", "--platform", platform, "--pull-never", "-t", "released", context)
		container := buildah("from", "--pull-never", "released")
		mustBeDescribed(t, buildah("inspect", container))
		r := &root{t: t, folder: buildah("mount", container), data: readDockerfile(t).last("WORKDIR"), uid: 65532, jailed: true}
		for _, command := range readDockerfile(t).commands() {
			mustBeFor(t, "linux_"+architecture, r.path(command))
		}
		if architecture == runtime.GOARCH {
			r.mustRun(readDockerfile(t).commands()[0])
		}
		buildah("umount", container)
	}
}

// mustBeDescribed: what an image says of itself is what infra/Dockerfile says.
func mustBeDescribed(t testing.TB, inspected string) {
	t.Helper()
	var described struct {
		OCIv1 struct {
			Config struct {
				User, WorkingDir string
				Entrypoint       []string
			}
		}
	}
	if err := json.Unmarshal([]byte(inspected), &described); err != nil {
		t.Fatal(err)
	}
	image, config := readDockerfile(t), described.OCIv1.Config
	if config.User != image.last("USER") || config.WorkingDir != image.last("WORKDIR") ||
		fmt.Sprintf("%q", config.Entrypoint) != image.last("ENTRYPOINT") {
		t.Errorf("the image is %+v", config)
	}
}

// mustRun starts the service in the root, which has nothing else in it, waits until it is ready, and stops it.
func (r *root) mustRun(command string) {
	r.t.Helper()
	d := resolve(r.t)
	c := d.Services["weatherlight"]
	r.mount(d)
	moved := map[string]string{"redis:6379": redistest.Start(r.t).Addr, "0.0.0.0:9180": freeport.Must(r.t)}
	moved["127.0.0.1:9180"] = moved["0.0.0.0:9180"]
	process := r.command(relocated(c.Environment, moved), command)
	if err := process.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = process.Process.Kill() })
	r.mustBecomeHealthy("weatherlight", c, moved)
	stopIn(r.t, process, "TimeoutStopSec="+fmt.Sprint(int(c.StopGracePeriod.Seconds())))
}
