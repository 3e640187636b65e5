package archtest

import (
	"go/ast"
	"strings"
	"testing"
)

// TestR15EverySettingIsRead: eleven settings were checked and then changed nothing.
func TestR15EverySettingIsRead(t *testing.T) {
	fields, selected := map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.machinery() {
			continue
		}
		ast.Inspect(s.file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.SelectorExpr:
				selected[node.Sel.Name] = true
			case *ast.Field:
				if s.dir == "settings" && node.Tag != nil && strings.HasPrefix(node.Tag.Value, "`env:") {
					fields[node.Names[0].Name] = node.Tag.Value
				}
			}
			return true
		})
	}
	if len(fields) == 0 {
		t.Fatal("settings has no field with a variable")
	}
	for name, tag := range fields {
		if !selected[name] {
			t.Errorf("nobody reads %s: %s", name, tag)
		}
	}
}
