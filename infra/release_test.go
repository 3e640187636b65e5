//go:build release

package infra

import (
	"debug/elf"
	"debug/macho"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
