package settings_test

import (
	"flag"
	"testing"

	"github.com/esper-lite/weatherlight/internal/pagetest"
	"github.com/esper-lite/weatherlight/settings"
)

var update = flag.Bool("update", false, "write the table of settings into docs/operations/settings.md")

// The operator's page holds the table that the settings themselves print.
func TestOperationsPageListsEverySetting(t *testing.T) {
	pagetest.Hold(t, "settings.md", "settings", "go test ./settings -update", settings.Markdown(), *update)
}
