package archtest

import (
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
