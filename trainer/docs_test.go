package trainer_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/trainer"
)

// page is docs/trainers.md.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/trainers.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section is the part of the page below a heading, up to the next one.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(page(t), "\n"+heading+"\n")
	if !found {
		t.Fatalf("docs/trainers.md has no heading %q", heading)
	}
	if end := regexp.MustCompile(`(?m)^##`).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// names are the words in code type in the first column of a section's tables.
func names(text string) (found []string) {
	word := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && cells[0] == "" {
			for _, match := range word.FindAllStringSubmatch(cells[1], -1) {
				found = append(found, match[1])
			}
		}
	}
	slices.Sort(found)
	return found
}

// constants are the texts of the constants of a file whose names match.
func constants(t *testing.T, file, pattern string) (texts []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(pattern)
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, isValue := node.(*ast.ValueSpec)
		if !isValue || len(spec.Values) != 1 || !wanted.MatchString(spec.Names[0].Name) {
			return true
		}
		if literal, isLiteral := spec.Values[0].(*ast.BasicLit); isLiteral {
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return true
	})
	slices.Sort(texts)
	return texts
}

func TestPageNamesEveryMetric(t *testing.T) {
	_, rest, _ := strings.Cut(page(t), "<!-- metrics")
	table, _, _ := strings.Cut(rest, "<!-- end of metrics -->")
	want := slices.DeleteFunc(constants(t, "metrics.go", `^Metric`), func(name string) bool {
		return name == trainer.MetricHalted || name == trainer.MetricHostMultiplyAdds
	})
	if diff := cmp.Diff(want, names(table)); diff != "" {
		t.Errorf("metrics of a seed (-code +page):\n%s", diff)
	}
	told := []string{trainer.MetricHalted, trainer.MetricHostMultiplyAdds, trainer.MetricOrder}
	if diff := cmp.Diff(told, names(section(t, "### training_metrics"))); diff != "" {
		t.Errorf("metrics of the training (-code +page):\n%s", diff)
	}
}

func TestPageNamesEveryAttribute(t *testing.T) {
	if diff := cmp.Diff(constants(t, "report.go", `^Attribute`), names(section(t, "### Attributes"))); diff != "" {
		t.Errorf("(-code +page):\n%s", diff)
	}
}

func TestPageNamesEveryAnnotation(t *testing.T) {
	want := append(constants(t, "blend.go", `^annotation`), constants(t, "schedule.go", `^annotation`)...)
	want = append(want, constants(t, "order.go", `(?i)^annotation`)...)
	text := page(t)
	for _, name := range want {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the page does not have annotation %s", name)
		}
	}
	if len(want) < 25 {
		t.Errorf("only %d annotations were found in the code", len(want))
	}
}

func TestPageNamesEveryFailureOfAnAttach(t *testing.T) {
	text := section(t, "### When a kernel cannot be attached")
	for failure := trainer.AttachUnspecified; failure <= trainer.AttachNoRoom; failure++ {
		against := map[bool]string{true: "yes", false: "no"}[failure.OfKernel()]
		row := regexp.MustCompile(fmt.Sprintf("(?m)^\\| %d \\| `%s` \\| .* \\| %s \\|$", failure, failure.Reason(), against))
		if !row.MatchString(text) {
			t.Errorf("the page does not tell of failure %d, %s", failure, failure.Reason())
		}
	}
}

func TestPagesGiveTheSameRedisUser(t *testing.T) {
	other, err := os.ReadFile("../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	user := regexp.MustCompile(`(?m)^user trainer .*$`)
	if ours := user.FindString(page(t)); ours == "" || ours != user.FindString(string(other)) {
		t.Errorf("docs/trainers.md has %q, docs/delivery.md %q", ours, user.FindString(string(other)))
	}
}

func TestPageTellsOfEveryOrder(t *testing.T) {
	text := section(t, "### The orders")
	for _, kind := range kinds {
		if !strings.Contains(text, "\n| "+string(kind)+" | ") {
			t.Errorf("the page does not tell what a graft does for %s", kind)
		}
	}
}
