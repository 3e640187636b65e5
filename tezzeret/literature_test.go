package tezzeret

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// docsOfFunctions are the comments of the package's functions, by name.
func docsOfFunctions(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil {
				docs[function.Name.Name] = function.Doc.Text()
			}
		}
	}
	return docs
}

func TestEveryBuilderSaysWhereItsNetworkIsDescribed(t *testing.T) {
	docs, published := docsOfFunctions(t), regexp.MustCompile(`\b(19|20)\d\d\b`)
	count := 0
	for blueprint, a := range architectures {
		count++
		whole := runtime.FuncForPC(reflect.ValueOf(a.build).Pointer()).Name()
		builder := whole[strings.LastIndex(whole, ".")+1:]
		if doc := docs[builder]; !published.MatchString(doc) {
			t.Errorf("%s: the comment of %s names no literature: %q", blueprint, builder, doc)
		}
	}
	if count != 48 {
		t.Errorf("%d architectures, want 48", count)
	}
}
