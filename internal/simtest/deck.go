package simtest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Step is one step of the service's boot list with the workers that it starts, in order.
type Step struct {
	Name    string
	Workers []WorkerDef
}

// WorkerDef is a worker of the service.
type WorkerDef struct {
	Name   string
	Stream string // the field of oona.Streams that it consumes, empty for none
	Finite bool
}

// deckReader walks the service's source the way its boot does.
type deckReader struct {
	names   map[string]string // of constants
	methods map[string]*ast.FuncDecl
	visited map[string]bool
	workers []WorkerDef
}

// ReadDeck reads the boot list and the workers out of the source of package weatherlight in dir, so that a step or a
// worker that is added there is simulated, and its order audited, without a word here. An error says that the source is
// written in a way that ReadDeck does not understand.
func ReadDeck(dir string) ([]Step, error) {
	r := &deckReader{
		names: make(map[string]string), methods: make(map[string]*ast.FuncDecl), visited: make(map[string]bool),
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("source of the service in %s: %w", dir, errors.Join(err, fs.ErrNotExist))
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("source of the service: %w", err)
		}
		r.collect(parsed)
	}
	return r.steps()
}

// collect notes a file's constants and methods of the service.
func (r *deckReader) collect(file *ast.File) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv != nil && isService(decl.Recv.List[0].Type) {
				r.methods[decl.Name.Name] = decl
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				r.constants(spec)
			}
		}
	}
}

func isService(receiver ast.Expr) bool {
	pointer, isPointer := receiver.(*ast.StarExpr)
	return isPointer && lastName(pointer.X) == "Service"
}

func (r *deckReader) constants(spec ast.Spec) {
	values, isValues := spec.(*ast.ValueSpec)
	if !isValues || len(values.Values) != len(values.Names) {
		return
	}
	for i, name := range values.Names {
		if text, isText := literal(values.Values[i]); isText {
			r.names[name.Name] = text
		}
	}
}

func literal(e ast.Expr) (string, bool) {
	lit, isLit := e.(*ast.BasicLit)
	if !isLit || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

func (r *deckReader) steps() ([]Step, error) {
	list := r.methods["steps"]
	if list == nil {
		return nil, errors.New("the service has no method steps")
	}
	var steps []Step
	ast.Inspect(list.Body, func(n ast.Node) bool {
		lit, isLit := n.(*ast.CompositeLit)
		if !isLit || lit.Type != nil {
			return true
		}
		name, _ := literal(field(lit, "Name"))
		r.workers = nil
		if start := field(lit, "Start"); start != nil {
			ast.Inspect(start, r.visit)
		}
		steps = append(steps, Step{Name: name, Workers: r.workers})
		return false
	})
	for _, step := range steps {
		if step.Name == "" {
			return nil, errors.New("a step of the service has no literal name")
		}
	}
	return steps, nil
}

// visit follows calls from method to method, and takes up every worker on the way.
func (r *deckReader) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		method := r.methods[n.Sel.Name]
		if receiver, isName := n.X.(*ast.Ident); !isName || receiver.Name != "s" || method == nil || r.visited[n.Sel.Name] {
			return true
		}
		r.visited[n.Sel.Name] = true
		ast.Inspect(method.Body, r.visit)
	case *ast.CallExpr: // s.consumer(workerX, oona.Subscription{Stream: ...}), under whatever name
		if len(n.Args) < 2 || r.names[lastName(n.Args[0])] == "" {
			return true
		}
		if subscription, isLit := n.Args[1].(*ast.CompositeLit); isLit && field(subscription, "Stream") != nil {
			return r.take(n.Args[0], WorkerDef{Stream: lastName(field(subscription, "Stream"))})
		}
	case *ast.CompositeLit:
		if finite := lastName(field(n, "Finite")) == "true"; field(n, "Worker") != nil {
			return r.take(field(n, "Name"), WorkerDef{Finite: finite})
		}
	}
	return true
}

func (r *deckReader) take(name ast.Expr, w WorkerDef) (descend bool) {
	if w.Name = r.names[lastName(name)]; w.Name != "" {
		r.workers = append(r.workers, w)
	}
	return false
}

func field(lit *ast.CompositeLit, name string) ast.Expr {
	if lit == nil {
		return nil
	}
	for _, element := range lit.Elts {
		pair, isPair := element.(*ast.KeyValueExpr)
		if isPair && lastName(pair.Key) == name {
			return pair.Value
		}
	}
	return nil
}

// lastName is a in a, c in a.b.c, and f in f(a).
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		return lastName(e.Fun)
	}
	return ""
}
