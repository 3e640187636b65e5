// Package docs reads the documentation as its readers do: it follows each link, and with the tag docs it looks through
// the site that mkdocs builds and runs the tutorial.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// page is a Markdown file without what is quoted in it.
type page struct {
	path  string // from the root of the repository
	prose string
}

var (
	fence  = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	quoted = regexp.MustCompile("`[^`\n]*`")
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	title  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	marked = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	noSlug = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// pages are all Markdown files of the repository, but those that others wrote or a build made.
func pages(t testing.TB) (all []page) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := path != root && strings.HasPrefix(entry.Name(), ".")
		if entry.IsDir() && (hidden || slices.Contains([]string{"bin", "dist", "node_modules", "testdata", "var"}, entry.Name())) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		relative, relErr := filepath.Rel(root, path)
		all = append(all, page{path: relative, prose: fence.ReplaceAllString(string(text), "")})
		if err == nil {
			err = relErr
		}
		return err
	})
	if err != nil || len(all) < 30 {
		t.Fatalf("%d pages, %v", len(all), err)
	}
	return all
}

// links are the targets of a page's links, pictures included.
func (p page) links() (targets []string) {
	for _, found := range link.FindAllStringSubmatch(quoted.ReplaceAllString(p.prose, "``"), -1) {
		targets = append(targets, found[1])
	}
	return targets
}

// anchors are the names that GitHub gives the headings of a page.
func (p page) anchors() map[string]bool {
	names := make(map[string]bool)
	for _, found := range title.FindAllStringSubmatch(p.prose, -1) {
		text := marked.ReplaceAllString(found[1], "$1")
		names[strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(text), ""), " ", "-")] = true
	}
	return names
}

// inRepository is the file that an address of our own repository names.
func inRepository(target string) (path string, is bool) {
	path, is = strings.CutPrefix(target, "https://github.com/esper-lite/weatherlight/blob/main/")
	return path, is
}

func TestMarkdownLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	headings := make(map[string]map[string]bool, len(all))
	for _, p := range all {
		headings[p.path] = p.anchors()
	}
	for _, p := range all {
		for _, target := range p.links() {
			file, anchor, _ := strings.Cut(target, "#")
			path, ours := inRepository(file)
			switch {
			case ours:
			case strings.Contains(file, ":"):
				continue // elsewhere: nothing here reaches it
			case file == "":
				path = p.path
			default:
				path = filepath.Join(filepath.Dir(p.path), file)
			}
			_, err := os.Stat(filepath.Join(root, path))
			known, isPage := headings[path]
			bad := err != nil || anchor != "" && isPage && !known[anchor]
			score.follow(bad)
			if bad {
				t.Errorf("%s: %s leads nowhere (%v)", p.path, target, err)
			}
		}
	}
}
