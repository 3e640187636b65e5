package infra

import (
	"errors"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/redistest"
)

// root is the file system of the image, with its user.
type root struct {
	t      testing.TB
	folder string
	data   string // in the image: what the user may write to
	uid    uint32
	jailed bool // whether processes see nothing else
}

// unpack makes the image's file system in a folder. Only root can jail a process in it; for anybody else the tests run
// the same commands with the folder before every path.
func unpack(t testing.TB) *root {
	t.Helper()
	image := readDockerfile(t)
	built := image.build(t)
	// Not below the test's own folders: those are closed to other users.
	folder, err := os.MkdirTemp("", "esper-image-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	r := &root{t: t, folder: folder, data: image.last("WORKDIR"), jailed: os.Geteuid() == 0}
	for _, command := range image.commands() {
		r.install(filepath.Join(built, path.Base(command)), command)
	}
	uid, _, _ := strings.Cut(image.last("USER"), ":")
	id, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	r.uid = uint32(id)
	r.make(r.data)
	if r.jailed {
		err = os.Chown(r.path(r.data), int(r.uid), int(r.uid))
	}
	if err := errors.Join(err, os.Chmod(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *root) path(inside string) string { return filepath.Join(r.folder, inside) }

func (r *root) make(folder string) {
	r.t.Helper()
	if err := os.MkdirAll(r.path(folder), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r *root) install(file, inside string) {
	r.t.Helper()
	r.make(path.Dir(inside))
	from, err := os.Open(file)
	if err != nil {
		r.t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(r.path(inside), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		r.t.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		r.t.Fatal(err)
	}
}

// mount has the secrets of a deployment where an engine puts them.
func (r *root) mount(d deployment) {
	r.t.Helper()
	r.make(secretsFolder)
	for name := range d.Secrets {
		if err := os.WriteFile(r.path(secretsFolder+name), []byte(secret+"\n"), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// command prepares a process as a container engine would start it.
func (r *root) command(environ map[string]string, words ...string) *exec.Cmd {
	c := &exec.Cmd{Path: words[0], Args: words, Dir: r.data, Stderr: os.Stderr}
	if r.jailed {
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: r.folder, Credential: &syscall.Credential{Uid: r.uid, Gid: r.uid}}
	} else {
		c.Path, c.Dir = r.path(words[0]), r.path(r.data)
	}
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		value := environ[name]
		if !r.jailed {
			value = strings.NewReplacer(r.data+"/", r.path(r.data)+"/", secretsFolder, r.path(secretsFolder)+"/").Replace(value)
		}
		c.Env = append(c.Env, name+"="+value)
	}
	return c
}

// TestContainersBecomeHealthyAndStop runs the services as the compose file does: from the image's file system, as its
// user, with the file's environment and health checks.
func TestContainersBecomeHealthyAndStop(t *testing.T) {
	d, r := resolve(t), unpack(t)
	server := redistest.Start(t, d.Services["redis"].Command[1:]...)
	moved := map[string]string{"redis:6379": server.Addr}
	for _, port := range []string{"9180", "9100"} {
		free := freeport.Must(t)
		moved["0.0.0.0:"+port], moved["127.0.0.1:"+port], moved["nissa:"+port] = free, free, free
	}
	r.mount(d)
	entry := []string{strings.Trim(readDockerfile(t).last("ENTRYPOINT"), `[]"`)}
	for _, name := range []string{"weatherlight", "nissa"} {
		c := d.Services[name]
		process := r.command(relocated(c.Environment, moved), slices.Concat(c.Entrypoint, entry)[0])
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = process.Process.Kill() })
		r.mustBecomeHealthy(name, c, moved)
		began := time.Now()
		if err := process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := process.Wait(); err != nil || time.Since(began) > c.StopGracePeriod {
			t.Errorf("%s stopped after %s: %v", name, time.Since(began), err)
		}
	}
}

// relocated gives addresses of the deployment those that they have here.
func relocated(environ, moved map[string]string) map[string]string {
	environ = maps.Clone(environ)
	for name, value := range environ {
		if address, err := url.Parse(value); err == nil && moved[address.Host] != "" {
			environ[name] = strings.Replace(value, address.Host, moved[address.Host], 1)
		} else if moved[value] != "" {
			environ[name] = moved[value]
		}
	}
	return environ
}

func (r *root) mustBecomeHealthy(name string, c container, moved map[string]string) {
	r.t.Helper()
	check := slices.Clone(c.Healthcheck.Test[1:])
	for i, word := range check {
		if address, err := url.Parse(word); err == nil && moved[address.Host] != "" {
			check[i] = strings.Replace(word, address.Host, moved[address.Host], 1)
		}
	}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); ; <-poll.C {
		var said strings.Builder
		probe := r.command(c.Environment, check...)
		probe.Stderr = &said
		err := probe.Run()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s is not healthy by %q: %v, %s", name, check, err, said.String())
		}
	}
}
