package archtest

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// environmentExceptions and its neighbours name calls that a rule forbids and
// say why they stand.
var (
	environmentExceptions = map[string]string{}
	processExceptions     = map[string]string{}
	outputExceptions      = map[string]string{}
	sleepExceptions       = map[string]string{
		"supervise/boot_test.go time.Sleep":                      "a step that hears nothing, taken in bubbles only",
		"supervise/property_test.go time.Sleep":                  "a worker that hears nothing, run in bubbles only",
		"weatherlight/internal/fleet/failure_test.go time.Sleep": "a renewal that is overdue, in a bubble only",
		"tezzeret/forge/kill_test.go time.Sleep":                 "widens the moment into which a random kill may fall",
	}
	contextExceptions = map[string]string{}
)

// TestOnlySettingsReadsTheEnvironment keeps variable names in one place. The
// commands may hand os.Environ on.
func TestOnlySettingsReadsTheEnvironment(t *testing.T) {
	applies := func(s *source) bool { return !s.test && !under(s.dir, "settings") }
	hold(t, applies, func(s *source) []finding {
		names := []string{"Getenv", "LookupEnv", "ExpandEnv", "Setenv", "Unsetenv", "Clearenv"}
		if !under(s.dir, "cmd") {
			names = append(names, "Environ")
		}
		return s.uses("os", names...)
	}, environmentExceptions)
}

// TestOnlyCommandsTouchTheProcess keeps arguments, signals and exit in cmd.
func TestOnlyCommandsTouchTheProcess(t *testing.T) {
	hold(t, outsideCmd, func(s *source) []finding {
		return append(s.uses("os", "Args", "Exit"), s.uses("os/signal", "Notify", "NotifyContext", "Ignore")...)
	}, processExceptions)
}

// TestOnePackageServesHTTP: limits that hold everywhere are set in one place.
func TestOnePackageServesHTTP(t *testing.T) {
	hold(t, func(s *source) bool { return !s.machinery() && !under(s.dir, "internal/httpserver") }, func(s *source) []finding {
		return append(s.uses("net/http", "Server", "Serve", "ServeTLS", "ListenAndServe", "ListenAndServeTLS"), s.uses("net/http/pprof", "Handler", "Index")...)
	}, nil)
}

// TestNoGlobalLoggerAndNoPanic keeps output in injected loggers and failures
// in errors.
func TestNoGlobalLoggerAndNoPanic(t *testing.T) {
	hold(t, func(s *source) bool { return outsideCmd(s) && !s.machinery() }, outputRule, outputExceptions)
}

func outputRule(s *source) []finding {
	found := s.uses("log/slog", "Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log",
		"DebugContext", "InfoContext", "WarnContext", "ErrorContext")
	found = append(found, s.uses("log", "Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln")...)
	found = append(found, s.uses("fmt", "Print", "Printf", "Println")...)
	ast.Inspect(s.file, func(node ast.Node) bool {
		if call, isCall := node.(*ast.CallExpr); isCall {
			if name, isName := call.Fun.(*ast.Ident); isName && slices.Contains([]string{"panic", "print", "println"}, name.Name) {
				found = append(found, s.find(call, name.Name, "calls %s", name.Name))
			}
		}
		return true
	})
	return found
}

func TestOutputRuleSeesPanicAndGlobals(t *testing.T) {
	text := `package x
import ("log/slog"; "fmt")
func f() { slog.Info("a"); panic("b"); fmt.Println("c") }`
	if got := check(t, "x/x.go", text, outputRule); len(got) != 3 {
		t.Errorf("findings are %v", got)
	}
}

// TestNoInitFunctions: what happens at import cannot be ordered or stopped.
func TestNoInitFunctions(t *testing.T) {
	hold(t, func(*source) bool { return true }, func(s *source) []finding {
		var found []finding
		for _, decl := range s.file.Decls {
			if function, isFunc := decl.(*ast.FuncDecl); isFunc && function.Recv == nil && function.Name.Name == "init" {
				found = append(found, s.find(function, "init", "declares an init function"))
			}
		}
		return found
	}, nil)
}

// TestNoSleepAsSynchronisation: production code waits on a context, tests on
// what they wait for. Inside a synctest bubble a sleep takes no time.
func TestNoSleepAsSynchronisation(t *testing.T) {
	hold(t, func(*source) bool { return true }, sleepRule, sleepExceptions)
}

func sleepRule(s *source) []finding {
	bubbles := s.uses("testing/synctest", "Test", "Run")
	var found []finding
	for _, decl := range s.file.Decls {
		if len(bubbles) > 0 && isBubbleHelper(decl) {
			continue
		}
		ast.Inspect(decl, func(node ast.Node) bool {
			if call, isCall := node.(*ast.CallExpr); isCall && s.isUse(call.Fun, "testing/synctest", "Test", "Run") {
				return false
			}
			if expr, isExpr := node.(ast.Expr); isExpr && s.isUse(expr, "time", "Sleep") {
				found = append(found, s.find(node, "time.Sleep", "uses time.Sleep"))
			}
			return true
		})
	}
	return found
}

// isBubbleHelper reports whether a declaration of a file with bubbles is a
// function that its bubbles call, rather than a test that opens one.
func isBubbleHelper(decl ast.Decl) bool {
	function, isFunc := decl.(*ast.FuncDecl)
	return isFunc && !slices.ContainsFunc([]string{"Test", "Benchmark", "Fuzz", "Example"}, func(prefix string) bool {
		return strings.HasPrefix(function.Name.Name, prefix)
	})
}

func TestSleepRuleSeesBubbles(t *testing.T) {
	text := `package x
import ("testing"; "testing/synctest"; "time")
func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }
func TestB(t *testing.T) { time.Sleep(1) }
func advance() { time.Sleep(1) }`
	if got := check(t, "x/x_test.go", text, sleepRule); len(got) != 1 || got[0].where != "x/x_test.go:4" {
		t.Errorf("findings are %v", got)
	}
}

// TestDetachedContextsSayWhy: a context without its parent's end outlives what
// started it, so the line or the one above says why that is right. A command's
// main is where contexts begin.
func TestDetachedContextsSayWhy(t *testing.T) {
	hold(t, func(s *source) bool { return outsideCmd(s) && !s.machinery() }, contextRule, contextExceptions)
}

func contextRule(s *source) []finding {
	explained := map[int]bool{}
	for _, group := range s.file.Comments {
		for _, comment := range group.List {
			for line := s.line(comment.Pos()); line <= s.line(comment.End()); line++ {
				explained[line] = true
			}
		}
	}
	var found []finding
	ast.Inspect(s.file, func(node ast.Node) bool {
		expr, isExpr := node.(ast.Expr)
		if isExpr && s.isUse(expr, "context", "Background", "TODO", "WithoutCancel") {
			if line := s.line(node.Pos()); !explained[line] && !explained[line-1] {
				found = append(found, s.find(node, "context", "detaches a context without a comment that says why"))
			}
		}
		return true
	})
	return found
}

func TestContextRuleWantsAReason(t *testing.T) {
	text := `package x
import "context"
func f() {
	_ = context.Background() // the root of the process

	// Outlives the request on purpose.
	_ = context.WithoutCancel(nil)
	_ = context.Background()
}`
	if got := check(t, "x/x.go", text, contextRule); len(got) != 1 || got[0].where != "x/x.go:8" {
		t.Errorf("findings are %v", got)
	}
}

// uses finds the places that name one of the exported names of a package.
func (s *source) uses(imported string, names ...string) []finding {
	var found []finding
	ast.Inspect(s.file, func(node ast.Node) bool {
		if expr, isExpr := node.(ast.Expr); isExpr && s.isUse(expr, imported, names...) {
			name := expr.(*ast.SelectorExpr).Sel.Name
			word := s.importName(imported) + "." + name
			found = append(found, s.find(expr, word, "uses %s", word))
		}
		return true
	})
	return found
}

// isUse reports whether an expression is imported.name for one of the names.
func (s *source) isUse(expr ast.Expr, imported string, names ...string) bool {
	selector, isSelector := expr.(*ast.SelectorExpr)
	if !isSelector || !slices.Contains(names, selector.Sel.Name) {
		return false
	}
	qualifier, isName := selector.X.(*ast.Ident)
	return isName && qualifier.Name == s.importName(imported)
}

// importName is the file's name for a package; "" when it does not import it.
func (s *source) importName(imported string) string {
	for _, spec := range s.file.Imports {
		if strings.Trim(spec.Path.Value, `"`) != imported {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return imported[strings.LastIndex(imported, "/")+1:]
	}
	return ""
}
