package kernel_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/kernel"
)

var update = flag.Bool("update", false, "write the hostile files of testdata/kernels anew")

const (
	corpus      = "../testdata/kernels/hostile"
	reasonsName = "reasons.json"
	largest     = 64 << 10 // bytes of a file that is kept
)

// TestHostileCorpus keeps the hostile files where loaders in other languages find
// them, each with the reason for which Load refuses it.
func TestHostileCorpus(t *testing.T) {
	made, reasons := make(map[string][]byte), make(map[string]string)
	for name, file := range hostileCorpus(t) {
		if len(file) > largest {
			continue
		}
		name = strings.NewReplacer(" ", "-", ",", "").Replace(name) + ".onnx"
		made[name], reasons[name] = file, refusal(t, file)
	}
	text, err := json.MarshalIndent(reasons, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	made[reasonsName] = append(text, '\n')
	if *update {
		writeCorpus(t, made)
	}
	kept := readCorpus(t)
	for name := range kept {
		if _, still := made[name]; !still {
			t.Errorf("%s is not a case any more (go test ./kernel -run TestHostileCorpus -update)", name)
		}
	}
	for name, file := range made {
		if !bytes.Equal(file, kept[name]) {
			t.Errorf("%s is not what the tests make (go test ./kernel -run TestHostileCorpus -update)", name)
		}
	}
	if diff := cmp.Diff(string(kept[reasonsName]), string(made[reasonsName])); diff != "" {
		t.Errorf("reasons (-kept +made):\n%s", diff)
	}
}

// hostileCorpus is every file that a test of the package wants refused.
func hostileCorpus(t *testing.T) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	add := func(name string, file []byte) {
		if _, twice := files[name]; twice {
			t.Fatalf("two cases are %q", name)
		}
		files[name] = file
	}
	for _, c := range hostileFiles() {
		model := plain(t)
		c.spoil(model)
		add(c.name, encoded(t, model))
	}
	for _, c := range garbageFiles(t) {
		add(c.name, c.file)
	}
	for _, c := range shapeBombs() {
		add(c.name, unchecked(t, bomb(c.build)))
	}
	for _, c := range hostileOperators() {
		b := kernel.NewBuilderFor("case", c.slot...)
		c.build(b)
		if file := unchecked(t, b); file != nil {
			add(c.name, file)
		}
	}
	return files
}

// unchecked is the file of a builder, nil when the builder itself refuses to write one.
func unchecked(t *testing.T, b *kernel.Builder) []byte {
	t.Helper()
	file, err := b.Unchecked()
	if err != nil {
		return nil
	}
	return file
}

func writeCorpus(t *testing.T, files map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(corpus); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(corpus, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, file := range files {
		if err := os.WriteFile(filepath.Join(corpus, name), file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readCorpus(t *testing.T) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(corpus)
	if err != nil {
		t.Fatalf("%v (go test ./kernel -run TestHostileCorpus -update writes it)", err)
	}
	files := make(map[string][]byte)
	for _, entry := range entries {
		file, err := os.ReadFile(filepath.Join(corpus, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = file
	}
	return files
}
