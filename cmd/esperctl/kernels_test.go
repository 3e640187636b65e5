package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// run executes a command line in the working directory's library.
func run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(arguments)
	root.SetOut(&out)
	err := execute(context.Background(), root)
	return out.String(), err
}

func mustRun(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := run(t, arguments...)
	if err != nil {
		t.Fatalf("esperctl %s: %v", strings.Join(arguments, " "), err)
	}
	return out
}

// inEmptyLibrary moves to a fresh folder without a bus.
func inEmptyLibrary(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("REDIS_URL", "embedded:")
	for _, name := range []string{"URZA_DATABASE_URL", "URZA_ARTIFACT_DIR", "URZA_ARTIFACT_URL", "ESPER_LEYLINE_SECRET"} {
		t.Setenv(name, "")
	}
}

func TestImportedKernelComesOutAsItWentIn(t *testing.T) {
	inEmptyLibrary(t)
	content := "PK\x03\x04 a prototype's pickle"
	if err := os.WriteFile("mine.pt", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	out := mustRun(t, "kernels", "import", "mine.pt", "--blueprint", "BP001")
	if !strings.Contains(out, "opaque bytes") || !strings.Contains(out, ".pt\n") {
		t.Error(out)
	}
	mustRun(t, "kernels", "import", "mine.pt", "--blueprint", "custom", "--tier", "high-risk")

	var entries []kernelEntry
	if err := json.Unmarshal([]byte(mustRun(t, "kernels", "list", "--json")), &entries); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[0].Tier != "BLUEPRINT_TIER_SAFE" || entries[1].Tier != "BLUEPRINT_TIER_HIGH_RISK" ||
		entries[1].Name != "mine" || entries[0].Bytes != int64(len(content)) {
		t.Errorf("%+v", entries)
	}
	if out := mustRun(t, "kernels", "list", "--tier", "safe"); strings.Contains(out, "custom") {
		t.Error(out)
	}
	mustRun(t, "kernels", "export", "custom", "out.pt")
	if got, err := os.ReadFile("out.pt"); err != nil || string(got) != content {
		t.Errorf("%q, %v", got, err)
	}
	if out := mustRun(t, "kernels", "export", "custom", "-"); out != content {
		t.Errorf("on standard output: %q", out)
	}
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"pipe", "."} {
		if _, err := run(t, "kernels", "export", "custom", file); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("export to %s: %v", file, err)
		}
	}
	if out := mustRun(t, "kernels", "show", "custom"); !strings.Contains(out, entries[1].Checksum) {
		t.Error(out)
	}
	if out := mustRun(t, "kernels", "show", "custom", "--json"); !strings.Contains(out, `"imported_from": "mine.pt"`) {
		t.Error(out)
	}
}

// R24: whoever looked in the wrong folder had a library there, and took it for his own.
func TestR24LookingAtALibraryMakesNone(t *testing.T) {
	inEmptyLibrary(t)
	for _, line := range [][]string{
		{"list"}, {"list", "--json"}, {"show", "BP001"}, {"verify"}, {"export", "BP001", "x.onnx"}, {"approve", "BP001"}, {"quarantine", "BP001"},
	} {
		_, err := run(t, append([]string{"kernels"}, line...)...)
		if process.ExitCode(err) != process.ExitDependency || !strings.Contains(err.Error(), "esperctl forge") {
			t.Errorf("kernels %v: exit code %d: %v", line, process.ExitCode(err), err)
		}
		if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
			t.Fatalf("kernels %v left %v, %v", line, left, err)
		}
	}
}

func TestVerifyTellsOfDamage(t *testing.T) {
	inEmptyLibrary(t)
	if err := os.WriteFile("a.onnx", []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "kernels", "import", "a.onnx", "--blueprint", "BP001")
	if out := mustRun(t, "kernels", "verify"); !strings.Contains(out, "BP001  sound") {
		t.Error(out)
	}
	files, err := filepath.Glob("var/urza/artifacts/*.onnx")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("kernal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "kernels", "verify", "BP001", "BP404"); err == nil ||
		!strings.Contains(out, "BP001  damaged") || !strings.Contains(out, "BP404  not in the catalogue") {
		t.Error(out, err)
	}
	if _, err := run(t, "kernels", "export", "BP001", "b.onnx"); err == nil {
		t.Error("exported a damaged kernel")
	}
	if _, err := run(t, "kernels", "approve", "BP001"); err == nil {
		t.Error("approved a damaged kernel")
	}
}

func TestReviewsAreShown(t *testing.T) {
	inEmptyLibrary(t)
	if err := os.WriteFile("a.onnx", []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "kernels", "import", "a.onnx", "--blueprint", "BP001")
	mustRun(t, "kernels", "approve", "BP001")
	mustRun(t, "kernels", "quarantine", "BP001", "--reason", "diverges")
	if out := mustRun(t, "kernels", "list"); !strings.Contains(out, "approved  set aside") {
		t.Error(out)
	}
	mustRun(t, "kernels", "quarantine", "BP001", "--release")
	if out := mustRun(t, "kernels", "list"); strings.Contains(out, "set aside") {
		t.Error(out)
	}
	for _, arguments := range [][]string{
		{"kernels", "quarantine", "BP404"}, {"kernels", "approve", "BP404"}, {"kernels", "show", "BP404"},
		{"kernels", "import", "a.onnx"}, {"kernels", "import", "none.onnx", "--blueprint", "BP001"},
		{"kernels", "import", "a.onnx", "--blueprint", "new", "--tier", "best"}, {"kernels", "list", "--tier", "best"},
		{"kernels", "export", "BP001", "no/such/folder/x"},
	} {
		if _, err := run(t, arguments...); err == nil {
			t.Errorf("%v succeeded", arguments)
		}
	}
}
