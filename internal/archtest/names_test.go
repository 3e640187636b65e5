package archtest

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// maxNames is how many names a room has for those outside. One with more is several rooms, or
// tells what is its own affair.
const maxNames = 8

// face is how many names a room has beyond that, and why.
type face struct {
	names int
	why   string
}

// faces are the rooms that have more. A row may shrink, and then it is as the room is.
var faces = map[string]face{
	"oona/deadletter":                 {10, "three errors that esperctl tells apart"},
	"oona/lease":                      {9, "three refusals that a fleet tells apart"},
	"oona/internal/delivery":          {11, "what the face of oona repeats to its importers"},
	"oona/internal/entry":             {9, "functions of ids, which are plain text"},
	"oona/internal/envelope":          {10, "sealing and reading share the form of what is sealed"},
	"oona/internal/redis":             {19, "all that the rooms of oona need of a server"},
	"urza/internal/artifact":          {13, "two kinds of stores behind one face, which tests break"},
	"urza/internal/catalogue":         {13, "what the library reads, writes and repairs of a row"},
	"urza/internal/fault":             {11, "one name for each error"},
	"weatherlight/assembly":           {10, "one function for each part of a service"},
	"weatherlight/internal/runrecord": {9, "Decide is the form of what callers write"},
}

// room reports whether a folder is a room of a part, which few others know.
func room(dir string) bool {
	parent := path.Dir(dir)
	return slices.Contains([]string{"oona", "oona/internal", "urza/internal", "tamiyo", "tamiyo/policy", "weatherlight", "weatherlight/internal"}, parent) &&
		dir != "weatherlight/internal" && dir != "oona/internal"
}

// TestRoomsHaveFewNames: what a room exports is what its neighbours have to know.
func TestRoomsHaveFewNames(t *testing.T) {
	exported := make(map[string][]string)
	for _, s := range sources(t) {
		if room(s.dir) && production(s) && !s.generated {
			exported[s.dir] = append(exported[s.dir], exportedNames(s.file)...)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(exported)) {
		if names, most := exported[dir], max(faces[dir].names, maxNames); len(names) > most {
			t.Errorf("%s exports %d names, at most %d: %s", dir, len(names), most, strings.Join(names, ", "))
		}
	}
	for dir, row := range faces {
		if len(exported[dir]) != row.names || row.names <= maxNames {
			t.Errorf("the row of %s is not as it is now: %d names", dir, len(exported[dir]))
		}
	}
}

// exportedNames are the types, functions, variables and constants of a file that others see.
// A group of constants is one name, and none when they are the values of a type of its own.
func exportedNames(file *ast.File) (names []string) {
	add := func(name *ast.Ident) {
		if name.IsExported() {
			names = append(names, name.Name)
		}
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				add(decl.Name)
			}
		case *ast.GenDecl:
			group := declaredNames(decl)
			if decl.Tok == token.CONST {
				group = group[:min(len(group), 1)]
			}
			for _, name := range group {
				add(name)
			}
		}
	}
	return names
}

// declaredNames are those of a declaration that others see.
func declaredNames(decl *ast.GenDecl) (names []*ast.Ident) {
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			names = append(names, spec.Name)
		case *ast.ValueSpec:
			if _, own := spec.Type.(*ast.Ident); own && decl.Tok == token.CONST && ast.IsExported(spec.Type.(*ast.Ident).Name) {
				return nil
			}
			names = append(names, spec.Names...)
		}
	}
	return slices.DeleteFunc(names, func(name *ast.Ident) bool { return !name.IsExported() })
}

func TestExportedNamesAreCounted(t *testing.T) {
	text := `package x
type Kind int
const ( First Kind = iota; Second )
const ( One = 1; Two = 2; three = 3 )
const four = 4
var Err, other error
func New() Kind { return 0 }
func (Kind) Method() {}
func hidden() {}`
	check(t, "x/x.go", text, func(s *source) []finding {
		if got := strings.Join(exportedNames(s.file), " "); got != "Kind One Err New" {
			t.Errorf("names are %q", got)
		}
		return nil
	})
}
