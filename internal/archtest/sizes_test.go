package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines     = 400
	maxFunctionLines = 60
	// maxRootLines of the composition root are read in one sitting.
	maxRootLines    = 1700
	maxPackageFiles = 25
)

// manyFiles are packages that are one thing in spite of their many files.
var manyFiles = map[string]string{"kernel": "an engine has as many operators as the profile names"}

// longFunctions are functions that are clearer in one piece, with the reason.
// The key is the folder and the name, with the receiver's type of a method.
var longFunctions = map[string]string{}

// longFiles are files that are one idea in spite of their length.
var longFiles = map[string]string{}

func TestFileSizes(t *testing.T) {
	hold(t, production, func(s *source) []finding {
		lines := s.line(s.file.FileEnd)
		if lines <= maxFileLines {
			return nil
		}
		return []finding{{where: s.path, key: s.path, what: fmt.Sprintf("has %d lines, at most %d", lines, maxFileLines)}}
	}, longFiles)
}

// TestPackageSizes: a room is found at a glance, and the root that puts the rooms together
// is read in one sitting.
func TestPackageSizes(t *testing.T) {
	files, root := map[string]int{}, 0
	for _, s := range sources(t) {
		if s.test || s.generated || strings.HasPrefix(s.dir, "bench") {
			continue
		}
		files[s.dir]++
		if s.dir == "weatherlight" {
			root += s.line(s.file.FileEnd)
		}
	}
	for dir, n := range files {
		if _, excepted := manyFiles[dir]; (n > maxPackageFiles) != excepted {
			t.Errorf("%s has %d files, at most %d; an exception is %v", dir, n, maxPackageFiles, excepted)
		}
	}
	if root == 0 || root > maxRootLines {
		t.Errorf("the composition root has %d lines, at most %d", root, maxRootLines)
	}
}

func TestFunctionSizes(t *testing.T) {
	hold(t, production, functionSizeRule, longFunctions)
}

func functionSizeRule(s *source) []finding {
	var found []finding
	for _, decl := range s.file.Decls {
		function, isFunc := decl.(*ast.FuncDecl)
		if !isFunc || function.Body == nil {
			continue
		}
		if lines := s.line(function.End()) - s.line(function.Pos()) + 1; lines > maxFunctionLines {
			finding := s.find(function, "", "%s has %d lines, at most %d", nameOf(function), lines, maxFunctionLines)
			finding.key = s.dir + "." + nameOf(function)
			found = append(found, finding)
		}
	}
	return found
}

// nameOf is Name, or Type.Name for a method.
func nameOf(function *ast.FuncDecl) string {
	if receiver := receiverOf(function); receiver != "" {
		return receiver + "." + function.Name.Name
	}
	return function.Name.Name
}

// receiverOf is the name of the type of a method, "" of a function.
func receiverOf(function *ast.FuncDecl) string {
	if function.Recv == nil || len(function.Recv.List) == 0 {
		return ""
	}
	receiver := function.Recv.List[0].Type
	if pointer, isPointer := receiver.(*ast.StarExpr); isPointer {
		receiver = pointer.X
	}
	if generic, isGeneric := receiver.(*ast.IndexExpr); isGeneric {
		receiver = generic.X
	}
	if name, isName := receiver.(*ast.Ident); isName {
		return name.Name
	}
	return ""
}

// leakExceptions are folders whose goroutines another folder's tests watch.
var leakExceptions = map[string]string{}

// TestGoroutinesAreWatchedForLeaks: a package that starts goroutines has a
// TestMain that fails when one is left.
func TestGoroutinesAreWatchedForLeaks(t *testing.T) {
	starts, watched := map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test && len(s.uses("go.uber.org/goleak", "VerifyTestMain")) > 0 {
			watched[s.dir] = true
		}
		if where := firstGoroutine(s); where != "" && !s.machinery() && starts[s.dir] == "" {
			starts[s.dir] = where
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(starts)) {
		where := starts[dir]
		_, excepted := leakExceptions[dir]
		if watched[dir] == excepted {
			t.Errorf("%s starts goroutines (%s): goleak.VerifyTestMain in its tests is %v, an exception is %v", dir, where, watched[dir], excepted)
		}
	}
	for dir := range leakExceptions {
		if starts[dir] == "" {
			t.Errorf("the exception %q is not needed any more", dir)
		}
	}
}

// firstGoroutine returns where a file starts a goroutine: by a go statement,
// or by the Go method of a wait group or an error group.
func firstGoroutine(s *source) string {
	where := token.NoPos
	ast.Inspect(s.file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			where = node.Pos()
		case *ast.CallExpr:
			if method, isMethod := node.Fun.(*ast.SelectorExpr); isMethod && method.Sel.Name == "Go" && len(node.Args) == 1 {
				where = node.Pos()
			}
		}
		return where == token.NoPos
	})
	if where == token.NoPos {
		return ""
	}
	return fmt.Sprintf("%s:%d", s.path, s.line(where))
}
