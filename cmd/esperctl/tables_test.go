package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/nissa/drill"
	"github.com/esper-lite/weatherlight/oona"
)

// tabled are command lines for all commands that print a table, on a bus, in a folder and beside
// services whose names are as long as names are.
func tabled(t *testing.T) [][]string {
	t.Helper()
	bus := onBus(t)
	redis := os.Getenv("REDIS_URL")
	letters := giveUp(t, bus, command("one of "+long), command("two"))
	dir, digest := policiesIn(t)
	t.Setenv("OONA_TELEMETRY_STREAM", "telemetry."+long)
	onRedis(t, "XADD telemetry."+long+" * no message", "XGROUP CREATE telemetry."+long+" group-"+long+" 0")
	said := answers()
	said["/status"] = strings.Replace(said["/status"], `"leader":"a"`, `"leader":"leader-`+long+`"`, 1)
	said["/readyz"] = `{"status":"ready"}`
	said["/runs"] = fmt.Sprintf(`{"runs":[%q]}`, long)
	said["/runs/"+long] = fmt.Sprintf(`{"tamiyo":{"shadow":{"policy":"policy-%s","agreed":3,"differed":1}}}`, long)
	served(t, said)
	for name, value := range map[string]string{"REDIS_URL": redis, "TAMIYO_POLICY_DIR": dir,
		"URZA_DATABASE_URL": "", "URZA_ARTIFACT_DIR": "", "URZA_ARTIFACT_URL": ""} {
		t.Setenv(name, value)
	}
	recorded := exportFile(t, exportOf(t, long, nil))
	file := long + ".pt"
	if err := os.WriteFile(file, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "kernels", "import", file, "--blueprint", "BP-"+long, "--name", long+long)
	mustRun(t, "kernels", "approve", "BP-"+long)
	mustRun(t, "deadletters", "replay", letters[0].ID)
	return append(slices.Clone(reads), [][]string{
		{"kernels", "list"}, {"kernels", "show", "BP-" + long}, {"kernels", "verify"}, {"blueprints", "choose", "--context", long},
		{"ready"}, {"runs", "replay", recorded}, {"blueprints", "list"}, {"blueprints", "show", "BP009"}, {"blueprints", "show", "BP048"},
		{"policy", "list"}, {"policy", "show", digest}, {"policy", "compare"},
		{"deadletters", "list"}, {"deadletters", "show", letters[0].ID}, {"streams", "list"}, {"streams", "show", oona.DefaultStreams().Normal},
	}...)
}

func TestEveryTableOfEveryCommandFitsItsTerminal(t *testing.T) {
	lines := tabled(t)
	missing := map[string]bool{}
	eachCommand(newRoot(), func(command *cobra.Command) {
		if flags := command.Flags(); flags.Lookup("output") != nil {
			missing[command.CommandPath()] = true
		} else if flags.Lookup("json") != nil && command.Name() != "demo" {
			t.Errorf("%s has --json and no -o", command.CommandPath())
		}
	})
	delete(missing, "esperctl runs follow") // it prints no table
	delete(missing, "esperctl demo")
	for _, line := range lines {
		found, _, err := newRoot().Find(line)
		if err != nil {
			t.Fatal(err)
		}
		delete(missing, found.CommandPath())
		for said, columns := range map[string]int{"": 80, "80": 80, "60": 60, "40": 40} {
			t.Setenv("COLUMNS", said)
			fitsTheTerminal(t, line, mustRun(t, line...), columns)
		}
		t.Setenv("COLUMNS", "")
		wide := mustRun(t, append(slices.Clone(line), "-o", "wide")...)
		if strings.Contains(wide, "…") {
			t.Errorf("%v -o wide cuts:\n%s", line, wide)
		}
		if printed := mustRun(t, append(slices.Clone(line), "-o", "json")...); !json.Valid([]byte(printed)) {
			t.Errorf("%v -o json prints none: %s", line, printed)
		}
	}
	for path := range missing {
		t.Errorf("no line of this test has %s", path)
	}
}

func fitsTheTerminal(t *testing.T, command []string, printed string, columns int) {
	t.Helper()
	for line := range strings.Lines(printed) {
		line = strings.TrimSuffix(line, "\n")
		if width := utf8.RuneCountInString(line); width > columns {
			t.Errorf("%v: %d columns of %d: %s", command, width, columns, line)
		}
	}
}

// What a drill found fits, too, however many were told and whatever went wrong.
func TestDrillFitsItsTerminal(t *testing.T) {
	t.Setenv("COLUMNS", "60")
	var out strings.Builder
	err := printDrill(&out, []drill.Result{
		{Rule: "told_" + long[:40], Receivers: []string{long, long}}, {Rule: "failed", Fault: strings.Repeat("it did not arrive ", 20)},
	})
	if err == nil || strings.Count(out.String(), "it did not arrive") < 15 {
		t.Errorf("%v\n%s", err, out.String())
	}
	fitsTheTerminal(t, []string{"drill"}, out.String(), 60)
}

// seeds cull wants a run and a seed: both stand in the list of all seeds, the latter in full where it fits. Where all are
// of one run, its name would only take the room of why they went.
func TestSeedsOfSeveralRunsNameTheirRun(t *testing.T) {
	said := answers()
	const seed = "seed-digits-2026-11-30-1-BP021"
	of := "/api/runs/" + long + "/seeds"
	said[of] = strings.ReplaceAll(said[of], "seed-"+long, seed)
	served(t, said)
	if printed := mustRun(t, "seeds", "list"); strings.Contains(printed, "RUN") {
		t.Errorf("of one run it shows\n%s", printed)
	}
	said["/api/runs"] = strings.Replace(said["/api/runs"], `{"runs":[`, `{"runs":[{"id":"other","state":"running","seeds":{"SEED_STAGE_TRAINING":1}},`, 1)
	said["/api/runs/other/seeds"] = strings.ReplaceAll(said[of], long, "other")
	if printed := mustRun(t, "seeds", "list"); !strings.Contains(printed, seed) || !strings.Contains(printed, "RUN") {
		t.Errorf("it shows\n%s", printed)
	}
	if wide := mustRun(t, "seeds", "list", "-o", "wide"); strings.Count(wide, long) != 1 {
		t.Errorf("-o wide shows\n%s", wide)
	}
}

// Ids are there to be given to other commands.
func TestIDsOfATableAreNotCut(t *testing.T) {
	bus := onBus(t)
	letters := giveUp(t, bus, command("one"))
	for _, columns := range []string{"80", "40"} {
		t.Setenv("COLUMNS", columns)
		if printed := mustRun(t, "deadletters", "list"); !strings.Contains(printed, letters[0].ID) {
			t.Errorf("in %s columns:\n%s", columns, printed)
		}
	}
}

// A path that is wider than the terminal goes on below itself: none of it is lost, and -o wide leaves it whole.
func TestLongPathsGoOnBelowThemselves(t *testing.T) {
	tabled(t)
	var entry kernelEntry
	if err := json.Unmarshal([]byte(mustRun(t, "kernels", "show", "BP-"+long, "--json")), &entry); err != nil {
		t.Fatal(err)
	}
	printed := mustRun(t, "kernels", "show", "BP-"+long)
	if !strings.Contains(strings.Join(strings.Fields(printed), ""), entry.ArtifactRef) || strings.Contains(printed, entry.ArtifactRef) {
		t.Errorf("%s is shown as\n%s", entry.ArtifactRef, printed)
	}
	if wide := mustRun(t, "kernels", "show", "BP-"+long, "-o", "wide"); !strings.Contains(wide, entry.ArtifactRef) {
		t.Errorf("-o wide shows\n%s", wide)
	}
}
