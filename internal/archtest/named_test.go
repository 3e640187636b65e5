package archtest

import (
	"go/ast"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// named is the name of a test, or how the names of several begin.
var named = regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9_]+`)

// TestN32TestsThatPagesNameAreThere: the pages of the prototype proved four of its promises by tests
// that nobody had written.
func TestN32TestsThatPagesNameAreThere(t *testing.T) {
	sources, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	var tests []string
	for _, s := range sources {
		for _, declared := range s.file.Decls {
			if function, is := declared.(*ast.FuncDecl); is && s.test && function.Recv == nil {
				tests = append(tests, function.Name.Name)
			}
		}
	}
	found := 0
	err = filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && slices.Contains([]string{".git", "node_modules", "var"}, entry.Name()) {
			return errorOr(err, fs.SkipDir)
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		for _, name := range named.FindAllString(read(t, path), -1) {
			found++
			if !slices.ContainsFunc(tests, func(test string) bool { return strings.HasPrefix(test, name) }) {
				t.Errorf("%s names %s, and there is no such test", path, name)
			}
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d names, %v", found, err)
	}
}
