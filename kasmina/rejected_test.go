package kasmina

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sourceFiles are the files of the package without its tests.
func sourceFiles(t *testing.T) []*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// reasonConstants are the texts of the Reason constants, by their names.
func reasonConstants(files []*ast.File) map[string]string {
	constants := make(map[string]string)
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
				constants[spec.Names[0].Name], _ = strconv.Unquote(literal.Value)
			}
			return true
		})
	}
	return constants
}

// reasonsGiven are the expressions that give a command's refusal its reason.
func reasonsGiven(files []*ast.File) (given []ast.Expr) {
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr:
				if name, ok := node.Fun.(*ast.Ident); ok && name.Name == "refuse" {
					given = append(given, node.Args[1])
				}
			case *ast.CompositeLit:
				if name, ok := node.Type.(*ast.Ident); ok && name.Name == "annotationFault" {
					given = append(given, node.Elts[0])
				}
			}
			return true
		})
	}
	return given
}

// The operator's page lists what Reasons explains.
func TestEveryReasonOfARefusalIsExplainedAndGiven(t *testing.T) {
	t.Parallel()
	files := sourceFiles(t)
	constants := reasonConstants(files)
	explained := make(map[string]bool)
	for _, text := range Reasons() {
		if explained[text.Reason] || text.Meaning == "" || strings.ContainsAny(text.Reason+text.Meaning, "|\n") {
			t.Errorf("%q is explained as %q", text.Reason, text.Meaning)
		}
		explained[text.Reason] = true
	}
	if want := slices.Sorted(maps.Values(constants)); !slices.Equal(slices.Sorted(maps.Keys(explained)), want) {
		t.Errorf("explained are %v, the constants are %v", slices.Sorted(maps.Keys(explained)), want)
	}
	used := make(map[string]bool)
	for _, reason := range reasonsGiven(files) {
		if pair, ok := reason.(*ast.KeyValueExpr); ok {
			reason = pair.Value
		}
		switch reason := reason.(type) {
		case *ast.Ident:
			used[reason.Name] = true
		case *ast.SelectorExpr: // of an annotationFault
		default:
			t.Errorf("a reason is given as %T", reason)
		}
	}
	if given, want := slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(constants)); !slices.Equal(given, want) {
		t.Errorf("given are %v, the constants are %v", given, want)
	}
}
