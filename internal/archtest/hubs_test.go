package archtest

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"testing"
)

const (
	maxFields  = 15
	maxMethods = 40
)

// Reasons for a type to be larger.
const (
	configuration = "one field for each setting"
	stored        = "the form in which it is stored or sent; what decides on it is elsewhere"
	told          = "one field for each thing that is told of one subject"
	figures       = "one field for each figure"
	simulated     = "the state of a simulated world, which its auditor sees whole"
	operators     = "one method for each operator"
	oneThing      = "the state of one worker or model, which nobody else holds"
	undivided     = "not yet divided into rooms"
)

// hub is how large a type may be, and why.
type hub struct {
	fields  int
	methods int
	why     string
}

// hubs are types that much hangs on. The key is the folder and the name.
var hubs = map[string]hub{
	"kasmina/graft.Config":                 {17, 0, configuration},
	"oona.Config":                          {22, 3, configuration},
	"settings.Kasmina":                     {25, 1, configuration},
	"settings.Settings":                    {17, 4, configuration},
	"tolaria.Config":                       {23, 4, configuration},
	"urza.Config":                          {21, 3, configuration},
	"weatherlight/internal/control.Config": {18, 0, configuration},

	"nissa/internal/rules.Rule":        {17, 4, configuration},
	"nissa/internal/rules.writtenRule": {17, 0, configuration},

	"nissa.counts":               {16, 5, figures},
	"nissa/internal/alert.Alert": {17, 9, stored},

	"kasmina.Record":  {22, 5, stored},
	"kasmina.pending": {18, 1, stored},
	"kasmina.seed":    {28, 8, stored},
	"tamiyo.seed":     {18, 5, stored},
	"tolaria.saved":   {19, 0, stored},
	"trainer.Order":   {17, 4, stored},

	"cmd/esperctl.blueprintEntry":         {16, 3, told},
	"cmd/esperctl/internal/demo.report":   {22, 3, told},
	"kasmina.SeedView":                    {22, 0, told},
	"kasmina/internal/gate.Subject":       {16, 1, told},
	"tezzeret.Compiled":                   {19, 2, told},
	"weatherlight/internal/status.Status": {20, 3, told},

	"internal/simtest.Counts":                 {16, 0, figures},
	"weatherlight/internal/runsimtest.Counts": {32, 0, figures},

	"internal/simtest.body":                    {16, 16, simulated},
	"weatherlight/internal/runsimtest.Defects": {16, 0, simulated},
	"weatherlight/internal/runsimtest.auditor": {10, 50, simulated},
	"weatherlight/internal/runsimtest.file":    {19, 1, simulated},
	"weatherlight/internal/runsimtest.run":     {20, 16, simulated},
	"weatherlight/internal/runsimtest.town":    {28, 24, simulated},
	"weatherlight/internal/runsimtest.trainee": {19, 19, simulated},

	"kernel.Tape":    {4, 76, operators},
	"kernel.node":    {17, 27, operators},
	"tezzeret.graph": {9, 54, operators},

	"kasmina.step": {17, 126, undivided},

	"kasmina/graft.Graft":                     {14, 46, oneThing},
	"kasmina/graft.seed":                      {17, 18, oneThing},
	"supervise.worker":                        {17, 19, oneThing},
	"tolaria.Trainer":                         {24, 36, oneThing},
	"weatherlight/internal/shmsignal.monitor": {19, 16, oneThing},
}

// TestNoHubs: a type with many fields or methods is one on which any line may touch
// anything. It wants to be several, each behind its own walls. A hub with a reason may
// shrink, and then its row does; it may not grow.
func TestNoHubs(t *testing.T) {
	counted := make(map[string]*size)
	for _, s := range sources(t) {
		if production(s) && !s.generated {
			measureTypes(s, counted)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counted)) {
		got, row := counted[name], hubs[name]
		fields, methods := max(row.fields, maxFields), max(row.methods, maxMethods)
		if got.fields > fields || got.methods > methods {
			t.Errorf("%s: %s has %d fields and %d methods, at most %d and %d", got.where, name, got.fields, got.methods, fields, methods)
		}
	}
	for name, row := range hubs {
		got := counted[name]
		if got == nil || got.fields != row.fields || got.methods != row.methods || !row.needed() {
			t.Errorf("the row of %s is not as it is now: %+v", name, got)
		}
	}
}

func (h hub) needed() bool { return h.fields > maxFields || h.methods > maxMethods }

func TestHubsAreCounted(t *testing.T) {
	text := `package x
type a[T any] struct { b, c int; d struct { e, f int } }
func (a[T]) one() {}
func (x *a[T]) two() {}
func three() {}`
	check(t, "x/x.go", text, func(s *source) []finding {
		sizes := make(map[string]*size)
		measureTypes(s, sizes)
		if got := sizes["x.a"]; len(sizes) != 1 || got.fields != 5 || got.methods != 2 {
			t.Errorf("counted %v: %+v", len(sizes), got)
		}
		return nil
	})
}

// size is how much a type holds.
type size struct {
	where   string
	fields  int
	methods int
}

// measureTypes adds the types and methods of a file.
func measureTypes(s *source, sizes map[string]*size) {
	of := func(name string) *size {
		key := s.dir + "." + name
		if sizes[key] == nil {
			sizes[key] = new(size)
		}
		return sizes[key]
	}
	for _, decl := range s.file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if receiver := receiverOf(decl); receiver != "" {
				of(receiver).methods++
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if named, isType := spec.(*ast.TypeSpec); isType {
					size := of(named.Name.Name)
					size.where = fmt.Sprintf("%s:%d", s.path, s.line(named.Pos()))
					size.fields = fieldsOf(named.Type)
				}
			}
		}
	}
}

// fieldsOf counts the fields of a struct, those of structs within it too.
func fieldsOf(expr ast.Expr) int {
	structure, isStruct := expr.(*ast.StructType)
	if !isStruct {
		return 0
	}
	fields := 0
	for _, field := range structure.Fields.List {
		fields += max(len(field.Names), 1)
		if _, nested := field.Type.(*ast.StructType); nested {
			fields += fieldsOf(field.Type)
		}
	}
	return fields
}
