package weatherlight

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/supervise"
)

func operationsPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// The operator's page explains every series that a service shows in which
// everything has happened once.
func TestOperationsPageNamesEverySeries(t *testing.T) {
	var patterns []*regexp.Regexp
	for _, quoted := range regexp.MustCompile("`([a-z_*]+)(?:\\{[a-z,]*\\})?`").FindAllStringSubmatch(operationsPage(t), -1) {
		pattern := strings.ReplaceAll(quoted[1], "*", ".*")
		patterns = append(patterns, regexp.MustCompile("^"+pattern+"$"))
	}
	r := eventful(t, redistest.Start(t).URL)
	_, body := ask(t, r.Service, "/metrics")
	named := 0
	for line := range strings.Lines(body) {
		words := strings.Fields(line)
		if len(words) < 4 || words[1] != "TYPE" {
			continue
		}
		named++
		if !slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(words[2]) }) {
			t.Errorf("docs/operations.md says nothing of %s", words[2])
		}
	}
	if named < 80 {
		t.Errorf("only %d series", named)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestOperationsPageSaysWhatToDoForEachAlarm(t *testing.T) {
	page := operationsPage(t)
	for _, c := range alarmConditions(time.Minute) {
		line := "| `" + c.name + "` | " + string(c.severity) + " |"
		if !strings.Contains(page, line) {
			t.Errorf("no line %s", line)
		}
	}
}

func TestOperationsPageDrawsEveryStateOfAWorker(t *testing.T) {
	page := operationsPage(t)
	for state := supervise.Created; state <= supervise.Abandoned; state++ {
		if !strings.Contains(page, state.String()) {
			t.Errorf("state %s is not drawn", state)
		}
	}
}

func TestOperationsPageNamesEveryCheck(t *testing.T) {
	page := operationsPage(t)
	for _, check := range Preflight(t.Context(), loadSettings(t, nil)) {
		if !strings.Contains(page, "| "+check.Name+" |") {
			t.Errorf("check %s is not explained", check.Name)
		}
	}
}
