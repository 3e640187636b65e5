package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRoomsAreOnTheMap: each room has a line in docs/architecture.md and a row of its own
// in the import table, and the page names no room that is gone.
func TestRoomsAreOnTheMap(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	for heading, folder := range map[string]string{
		"Rooms of the service": "weatherlight/internal",
		"Rooms of the bus":     "oona/internal",
		"Rooms of Nissa":       "nissa/internal",
	} {
		_, section, found := strings.Cut(string(page), "\n## "+heading+"\n")
		if !found {
			t.Fatalf("the page has no section %q", heading)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		roomsAreOnTheMap(t, section, folder)
	}
}

func roomsAreOnTheMap(t *testing.T, section, folder string) {
	t.Helper()
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
		t.Errorf("the page names %d rooms of %s, there are %d", lines, folder, len(rooms))
	}
}
