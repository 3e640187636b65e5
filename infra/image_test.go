package infra

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// dockerfile is what the tests read of the Dockerfile.
type dockerfile struct {
	lines []string // continued lines joined
}

func readDockerfile(t testing.TB) dockerfile {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	return dockerfile{lines: strings.Split(joined, "\n")}
}

// all returns what stands behind each instruction of a kind.
func (d dockerfile) all(instruction string) (arguments []string) {
	for _, line := range d.lines {
		if argument, found := strings.CutPrefix(line, instruction+" "); found {
			arguments = append(arguments, argument)
		}
	}
	return arguments
}

func (d dockerfile) last(instruction string) string {
	all := d.all(instruction)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// commands are the paths in the image of the commands that are copied into it.
func (d dockerfile) commands() (paths []string) {
	for _, copied := range d.all("COPY") {
		words := strings.Fields(copied)
		target := words[len(words)-1]
		for _, word := range words {
			if strings.HasPrefix(word, "/out/esper") {
				paths = append(paths, path.Join(target, path.Base(word)))
			}
		}
	}
	return paths
}

// build runs the image's own build line and returns the folder of what it made.
func (d dockerfile) build(t testing.TB) string {
	t.Helper()
	folder := t.TempDir()
	var line string
	for _, run := range d.all("RUN") {
		if strings.Contains(run, "go build") {
			line = strings.ReplaceAll(run, "/out", folder)
		}
	}
	if line == "" {
		t.Fatal("the Dockerfile builds nothing")
	}
	run(t, "..", nil, "sh", "-c", line)
	return folder
}

func TestImageHoldsStaticCommandsThatSayTheirVersion(t *testing.T) {
	const version = "v9.8.7-of the test"
	t.Setenv("VERSION", version)
	d := readDockerfile(t)
	folder := d.build(t)
	if len(d.commands()) != 3 {
		t.Errorf("the image holds %v", d.commands())
	}
	for _, command := range d.commands() {
		file := filepath.Join(folder, path.Base(command))
		mustBeStatic(t, file)
		line, err := exec.Command(file, "--version").Output()
		if err != nil || !strings.HasPrefix(string(line), path.Base(command)+" "+version+" go") {
			t.Errorf("%s says %q, %v", command, line, err)
		}
	}
	mustSay(t, folder, version)
}

// mustSay: the build sees no history that would tell it the version.
func mustSay(t *testing.T, folder, version string) {
	t.Helper()
	addr := freeport.Must(t)
	service := exec.Command(filepath.Join(folder, "esper-weatherlight-service"))
	service.Dir, service.Stderr = t.TempDir(), os.Stderr
	service.Env = []string{"ESPER_LEYLINE_SECRET=" + secret, "REDIS_URL=embedded:", "WEATHERLIGHT_HTTP_ADDR=" + addr,
		"TEZZERET_FORGE_ON_START=false"}
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = service.Process.Kill()
		_ = service.Wait() // it was killed
	})
	var status struct{ Version string }
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && status.Version == ""; <-poll.C {
		response, err := http.Get("http://" + addr + "/status")
		if err != nil {
			continue // it does not listen yet
		}
		err = errors.Join(json.NewDecoder(response.Body).Decode(&status), response.Body.Close())
		if err != nil {
			t.Fatal(err)
		}
	}
	if status.Version != version {
		t.Errorf("the service says version %q, the image was built as %q", status.Version, version)
	}
}

// mustBeStatic: nothing in the image could load or be loaded.
func mustBeStatic(t *testing.T, file string) {
	t.Helper()
	binary, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, section := range binary.Progs {
		if section.Type == elf.PT_INTERP || section.Type == elf.PT_DYNAMIC {
			t.Errorf("%s has a section %s", file, section.Type)
		}
	}
}

func TestImageIsNotRootAndStartsTheService(t *testing.T) {
	d := readDockerfile(t)
	if user := d.last("USER"); !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(user) {
		t.Errorf("the image runs as %q", user)
	}
	if from := d.all("FROM"); len(from) != 2 || from[1] != "scratch" {
		t.Errorf("the image is made from %q", from)
	}
	entry := strings.Trim(d.last("ENTRYPOINT"), `[]"`)
	if !slices.Contains(d.commands(), entry) {
		t.Errorf("the image starts %q, it holds %q", entry, d.commands())
	}
	for _, command := range d.commands() {
		if _, err := os.Stat(filepath.Join("..", "cmd", path.Base(command), "main.go")); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
}

// TestImageIsBuiltByTheModulesGo: another toolchain would be fetched at each build.
func TestImageIsBuiltByTheModulesGo(t *testing.T) {
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(string(module))[1]
	if from := readDockerfile(t).all("FROM")[0]; from != "golang:"+version+" AS build" {
		t.Errorf("the image is built by %q, the module wants Go %s", from, version)
	}
}

// TestSecretsStayOutOfTheBuild: a .env file beside the sources would end up in a layer.
func TestSecretsStayOutOfTheBuild(t *testing.T) {
	ignored, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".env", ".git", "var"} {
		if !slices.Contains(strings.Split(string(ignored), "\n"), name) {
			t.Errorf(".dockerignore does not name %s", name)
		}
	}
}
