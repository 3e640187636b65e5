//go:build docs

package docs

import (
	"flag"
	"html"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var site = flag.String("site", root+"/var/docs/site", "`folder` of the site")

var (
	reference = regexp.MustCompile(`\s(?:href|src)="?([^"\s>]+)`)
	named     = regexp.MustCompile(`\s(?:id|name)="?([^"\s>]+)`)
)

// Every link of the site leads to a page or a file of it, to a place that is there, or to a file of the repository.
func TestSiteLinksLeadSomewhere(t *testing.T) {
	texts := make(map[string]string)
	names := make(map[string]map[string]bool)
	err := filepath.WalkDir(*site, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".html" || filepath.Base(path) == "404.html" {
			return err // 404.html is for a server that has an address
		}
		text, err := os.ReadFile(path)
		texts[path], names[path] = string(text), make(map[string]bool)
		for _, found := range named.FindAllStringSubmatch(string(text), -1) {
			names[path][html.UnescapeString(found[1])] = true
		}
		return err
	})
	if err != nil || len(texts) < 30 {
		t.Fatalf("%d pages, %v", len(texts), err)
	}
	for path, text := range texts {
		for _, found := range reference.FindAllStringSubmatch(text, -1) {
			target, err := url.Parse(html.UnescapeString(found[1]))
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			file := filepath.Join(filepath.Dir(path), target.Path)
			ours, isOurs := inRepository(target.Scheme + "://" + target.Host + target.Path)
			switch {
			case isOurs:
				file = filepath.Join(root, ours)
			case target.Scheme != "" || target.Host != "":
				continue // elsewhere: nothing here reaches it
			case target.Path == "":
				file = path
			}
			info, err := os.Stat(file)
			if err == nil && info.IsDir() && !isOurs {
				_, err = os.Stat(filepath.Join(file, "index.html"))
			}
			known, isPage := names[file]
			bad := err != nil || target.Fragment != "" && isPage && !known[target.Fragment] && !strings.HasPrefix(target.Fragment, "__")
			score.follow(bad)
			if bad {
				t.Errorf("%s: %s leads nowhere (%v)", path, found[1], err)
			}
		}
	}
}
