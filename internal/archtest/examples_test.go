package archtest

import (
	"go/ast"
	"go/doc"
	"slices"
	"strings"
	"testing"
)

// TestR26ExamplesCanBeCopied: an example is code for somebody else's module, which sees no
// internal package of ours.
func TestR26ExamplesCanBeCopied(t *testing.T) {
	hold(t, func(s *source) bool { return strings.HasSuffix(s.path, "example_test.go") }, exampleRule, nil)
}

func exampleRule(s *source) []finding {
	var found []finding
	for _, spec := range s.file.Imports {
		if imported := strings.Trim(spec.Path.Value, `"`); strings.Contains(imported+"/", "/internal/") {
			found = append(found, s.find(spec, imported, "imports %s, which nobody else can", imported))
		}
	}
	if s.file.Name.Name == "main" || !strings.HasSuffix(s.file.Name.Name, "_test") {
		found = append(found, s.find(s.file.Name, "package", "sees what is not exported"))
	}
	return found
}

func TestExampleRuleSeesWhatNobodyElseSees(t *testing.T) {
	text := `package x
import _ "github.com/esper-lite/weatherlight/internal/atomicfile"`
	if got := check(t, "x/example_test.go", text, exampleRule); len(got) != 2 {
		t.Errorf("findings are %v", got)
	}
}

// TestEveryPublicRoomHasAnExample that runs: what is printed in its documentation is what it does.
func TestEveryPublicRoomHasAnExample(t *testing.T) {
	sources, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, s := range sources {
		if isRoom := !s.machinery() && s.file.Name.Name != "main" && isPublic(s.dir); isRoom {
			shown[s.dir] = shown[s.dir] || false
		}
		if strings.HasSuffix(s.path, "example_test.go") {
			shown[s.dir] = shown[s.dir] || runs(s.file)
		}
	}
	for room, has := range shown {
		if !has {
			t.Errorf("%s has no example with what it prints", room)
		}
	}
}

// isPublic says whether others can import a folder, and find something to use in it.
func isPublic(dir string) bool {
	parts := strings.Split(dir, "/")
	return !slices.Contains(parts, "internal") && parts[0] != "cmd"
}

// runs says whether a file has an example that is compared with what it prints.
func runs(file *ast.File) bool {
	return slices.ContainsFunc(doc.Examples(file), func(e *doc.Example) bool { return e.Output != "" })
}
