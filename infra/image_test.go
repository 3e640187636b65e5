package infra

import (
	"debug/elf"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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

func TestImageHoldsStaticCommands(t *testing.T) {
	d := readDockerfile(t)
	folder := d.build(t)
	if len(d.commands()) != 3 {
		t.Errorf("the image holds %v", d.commands())
	}
	for _, command := range d.commands() {
		mustBeStatic(t, filepath.Join(folder, path.Base(command)))
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
