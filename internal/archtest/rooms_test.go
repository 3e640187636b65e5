package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRoomsAreOnTheMap: each room of the service has a line in docs/architecture.md and a
// row of its own in the import table, and the page names no room that is gone.
func TestRoomsAreOnTheMap(t *testing.T) {
	const folder = "weatherlight/internal"
	page, err := os.ReadFile(filepath.Join("..", "..", "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Rooms of the service\n")
	if !found {
		t.Fatal("the page has no section of rooms")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rooms, err := os.ReadDir(filepath.Join("..", "..", folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		if !strings.Contains(section, "| `"+room.Name()+"` |") {
			t.Errorf("the page does not name %s", room.Name())
		}
		if _, known := allowedImports[folder+"/"+room.Name()]; !known {
			t.Errorf("%s has no row in the import table", room.Name())
		}
	}
	if lines := strings.Count(section, "\n| `"); lines != len(rooms) {
		t.Errorf("the page names %d rooms, there are %d", lines, len(rooms))
	}
}
