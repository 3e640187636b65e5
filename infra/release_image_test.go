//go:build release

package infra

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/redistest"
)

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
