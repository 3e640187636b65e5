package weatherlight

import (
	stdflag "flag"
	"fmt"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/pagetest"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

var update = stdflag.Bool("update", false, "write the tables of docs/operations")

// wantOnPage compares a part of the page that is made from the code, or renews it.
func wantOnPage(t *testing.T, page, part, want string) {
	t.Helper()
	pagetest.Hold(t, page, part, "go test ./weatherlight -run OperationsPage -update", want, *update)
}

func TestOperationsPageListsEverySeries(t *testing.T) {
	var page strings.Builder
	for _, group := range seriesGroups() {
		fmt.Fprintf(&page, "## %s\n\n%s\n", group.title, tableOf(group.rows))
	}
	wantOnPage(t, "metrics.md", "series", page.String())
}

func TestOperationsPageListsEveryPointOfAPacket(t *testing.T) {
	wantOnPage(t, "metrics.md", "points of packets", tableOf(packetSeries()))
}

func tableOf(rows []telemetry.Series) string {
	table := "| series | kind | unit | meaning |\n| --- | --- | --- | --- |\n"
	for _, row := range rows {
		table += fmt.Sprintf("| `%s` | %s | %s | %s |\n", row.Labelled(), row.Kind, row.Unit, row.Meaning)
	}
	return table
}

func TestOperationsPageListsEveryReasonOfARefusedCommand(t *testing.T) {
	page := "| reason | meaning |\n| --- | --- |\n"
	for _, reason := range kasmina.Reasons() {
		page += fmt.Sprintf("| `%s` | %s |\n", reason.Reason, reason.Meaning)
	}
	wantOnPage(t, "metrics.md", "reasons of refused commands", page)
}

func TestOperationsPageListsEveryChore(t *testing.T) {
	page := "| task | done by | what it does |\n| --- | --- | --- |\n"
	for _, job := range maintenance.Jobs(maintenance.JobsConfig{}) {
		page += fmt.Sprintf("| `%s` | %s | %s |\n", job.Name, job.Who, job.What)
	}
	wantOnPage(t, "maintenance.md", "tasks", page)
}

func TestOperationsPageDrawsEveryStateOfAWorker(t *testing.T) {
	page := pagetest.Read(t, "maintenance.md")
	for state := supervise.Created; state <= supervise.Abandoned; state++ {
		if !strings.Contains(page, state.String()) {
			t.Errorf("state %s is not drawn", state)
		}
	}
}

func TestOperationsPageNamesEveryCheck(t *testing.T) {
	page := pagetest.Read(t, "deployment.md")
	for _, check := range preflight.Run(t.Context(), loadSettings(t, nil)) {
		if !strings.Contains(page, "| "+check.Name+" |") {
			t.Errorf("check %s is not explained", check.Name)
		}
	}
}
