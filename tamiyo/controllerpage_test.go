package tamiyo

import (
	"flag"
	"testing"

	"github.com/esper-lite/weatherlight/internal/pagetest"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
)

var update = flag.Bool("update", false, "write the table of docs/controller.md anew")

func TestControllerPageHasTheRules(t *testing.T) {
	t.Parallel()
	pagetest.Hold(t, "../controller.md", "rules", "go test ./tamiyo -run ControllerPage -update", rules.Markdown(), *update)
}
