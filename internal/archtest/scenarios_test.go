package archtest

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestScenariosHaveATestOrALine: each of the prototype's scenarios of Kasmina and of Tamiyo
// has a test with its number, or a line that says why it has no place; never both.
func TestScenariosHaveATestOrALine(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs/adr/0011-scenarios-without-a-place.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, left, found := strings.Cut(string(page), "\n## Decision\n")
	left, _, ended := strings.Cut(left, "\nThese have a test")
	if !found || !ended {
		t.Fatal("the page has no table of those without a place")
	}
	without := map[int]bool{}
	for line := range strings.Lines(left) {
		cells := strings.Split(line, "|")
		if len(cells) < 2 {
			continue
		}
		for _, number := range numbers.FindAllString(cells[1], -1) {
			n, _ := strconv.Atoi(number)
			without[n] = true
		}
	}
	tested := map[int]bool{}
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			function, isFunc := decl.(*ast.FuncDecl)
			if !isFunc || !s.test {
				continue
			}
			if number, is := strings.CutPrefix(function.Name.Name, "TestScenario"); is {
				n, _ := strconv.Atoi(numbers.FindString(number))
				tested[n] = true
			}
		}
	}
	for n := 1; n <= 132; n++ {
		if n > 66 && n < 99 {
			continue // of other parts
		}
		if tested[n] == without[n] {
			t.Errorf("scenario %d: has a test %v, has no place %v", n, tested[n], without[n])
		}
	}
}

var numbers = regexp.MustCompile(`[0-9]+`)
