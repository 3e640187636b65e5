package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/esper-lite/weatherlight"

// source is one Go file of the module.
type source struct {
	path      string // slash-separated, from the root of the module
	dir       string // its folder, "." for the root
	test      bool   // _test.go
	generated bool
	fset      *token.FileSet
	file      *ast.File
}

// finding is one place that breaks a rule.
type finding struct {
	where string // path:line
	key   string // what an exception names: path and word, or folder and function
	what  string
}

func (s *source) find(node ast.Node, word, format string, args ...any) finding {
	return finding{
		where: fmt.Sprintf("%s:%d", s.path, s.line(node.Pos())),
		key:   s.path + " " + word,
		what:  fmt.Sprintf(format, args...),
	}
}

func (s *source) line(pos token.Pos) int { return s.fset.Position(pos).Line }

// machinery reports whether the file serves tests only.
func (s *source) machinery() bool {
	return s.test || strings.HasSuffix(s.dir, "test") || under(s.dir, "internal/archtest")
}

func under(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

// tree parses every Go file of the module once.
var tree = sync.OnceValues(func() ([]*source, error) {
	root := filepath.Join("..", "..")
	var sources []*source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			return skipFolder(name, rel)
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		parsed, err := parse(rel, string(text))
		sources = append(sources, parsed)
		return err
	})
	return sources, err
})

// skipFolder leaves out what the go command leaves out, and nested modules.
func skipFolder(name, rel string) error {
	base := path.Base(rel)
	hidden := rel != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_"))
	if hidden || base == "node_modules" || base == "testdata" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); rel != "." && err == nil {
		return filepath.SkipDir
	}
	return nil
}

func parse(rel, text string) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{
		path: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"),
		generated: ast.IsGenerated(file), fset: fset, file: file,
	}, nil
}

func sources(t *testing.T) []*source {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// hold runs one rule over every written file that applies accepts, and fails
// for each finding without an exception and each exception without a finding.
func hold(t *testing.T, applies func(*source) bool, rule func(*source) []finding, exceptions map[string]string) {
	t.Helper()
	used := map[string]bool{}
	for _, s := range sources(t) {
		if s.generated || !applies(s) {
			continue
		}
		for _, f := range rule(s) {
			if _, excepted := exceptions[f.key]; excepted {
				used[f.key] = true
				continue
			}
			t.Errorf("%s: %s (exceptions name it %q)", f.where, f.what, f.key)
		}
	}
	for key := range exceptions {
		if !used[key] {
			t.Errorf("the exception %q is not needed any more", key)
		}
	}
}

func production(s *source) bool { return !s.test }

func outsideCmd(s *source) bool { return !s.test && !under(s.dir, "cmd") }

// check runs a rule on a made-up file, for the tests of the rules themselves.
func check(t *testing.T, rel, text string, rule func(*source) []finding) []finding {
	t.Helper()
	s, err := parse(rel, text)
	if err != nil {
		t.Fatal(err)
	}
	return rule(s)
}
