package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced   = regexp.MustCompile("(?s)```.*?```")
	unlinked = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// TestLinksOfThePagesLeadSomewhere: a link of a page within the repository leads to a
// file that is there, and to a heading of it.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && slices.Contains([]string{".git", "node_modules", "var"}, entry.Name()) {
			return errorOr(err, fs.SkipDir)
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		for _, found := range link.FindAllStringSubmatch(read(t, path), -1) {
			if strings.Contains(found[1], ":") {
				continue // to another site
			}
			checked++
			follow(t, path, found[1])
		}
		return nil
	})
	if err != nil || checked < 50 {
		t.Errorf("%d links, %v", checked, err)
	}
}

func errorOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func follow(t *testing.T, from, to string) {
	t.Helper()
	path, anchor, _ := strings.Cut(to, "#")
	target := from
	if path != "" {
		target = filepath.Join(filepath.Dir(from), path)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("%s links to %s: %v", from, to, err)
		return
	}
	if anchor != "" && filepath.Ext(target) == ".md" && !slices.Contains(anchors(read(t, target)), anchor) {
		t.Errorf("%s links to %s, and there is no such heading", from, to)
	}
}

// anchors are the headings of a page as links name them.
func anchors(page string) []string {
	var names []string
	for _, found := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		names = append(names, strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-"))
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
