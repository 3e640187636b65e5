package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// acts are the commands that have no --json, and why: all others read.
var acts = map[string]string{
	"alarms ack": "changes", "deadletters purge": "changes", "deadletters replay": "changes", "dev": "stays", "drill": "raises alerts",
	"forge": "makes", "kernels approve": "changes", "kernels export": "writes a file", "kernels import": "changes", "kernels quarantine": "changes",
	"mode": "changes", "policy activate": "changes", "policy publish": "changes", "policy rollback": "changes", "policy shadow": "changes",
	"policy train": "makes", "runs export": "prints lines of JSON already", "seeds cull": "changes", "seeds fossilize": "changes",
	"seeds pause": "changes", "seeds resume": "changes", "streams groups remove": "changes", "top": "stays",
}

func TestEveryReadHasJSON(t *testing.T) {
	left := maps.Clone(acts)
	eachCommand(newRoot(), func(command *cobra.Command) {
		name := strings.TrimPrefix(command.CommandPath(), "esperctl ")
		_, acting := acts[name]
		delete(left, name)
		has := command.Flags().Lookup("json") != nil && (command.Flags().Lookup("output") != nil || name == "demo")
		if acting == has {
			t.Errorf("%s: it acts %v, and has --json and -o %v", name, acting, has)
		}
	})
	if len(left) > 0 {
		t.Errorf("there are no commands %v", left)
	}
}

// TestFieldsOfJSONAreDocumented: each field that a read prints stands in its row of the page.
func TestFieldsOfJSONAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.FromSlash(referencePage))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## JSON\n")
	section, _, ended := strings.Cut(section, "\n## ")
	if !found || !ended {
		t.Fatal("the page has no place for the fields")
	}
	rows := map[string]string{}
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, " | "); len(cells) > 1 {
			for command := range strings.SplitSeq(strings.TrimPrefix(cells[0], "| "), ", ") {
				rows[strings.Trim(command, "`")] = line
			}
		}
	}
	for _, line := range tabled(t) {
		command, _, err := newRoot().Find(line)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(command.CommandPath(), "esperctl ")
		printed := mustRun(t, append(slices.Clone(line), "--json")...)
		row, has := rows[name]
		if !has {
			t.Errorf("no row has %s, which prints %s", name, printed)
		}
		for _, field := range fieldsOf(t, printed) {
			if !strings.Contains(row, "`"+field+"`") {
				t.Errorf("the row of %s does not have %s", name, field)
			}
		}
	}
}

// fieldsOf are those of an object, or of the first of a list of objects.
func fieldsOf(t *testing.T, printed string) []string {
	t.Helper()
	var list []map[string]any
	if json.Unmarshal([]byte(printed), &list) != nil {
		list = make([]map[string]any, 1)
		if err := json.Unmarshal([]byte(printed), &list[0]); err != nil {
			t.Fatalf("%v in %s", err, printed)
		}
	}
	if len(list) == 0 {
		t.Fatalf("nothing is printed: %s", printed)
	}
	return slices.Sorted(maps.Keys(list[0]))
}

// What is not so is told as JSON too, and the exit code is the same.
func TestJSONOfWhatIsNotSo(t *testing.T) {
	inEmptyLibrary(t)
	t.Setenv("WEATHERLIGHT_HTTP_ADDR", "127.0.0.1:1")
	if err := os.WriteFile("a.onnx", []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "kernels", "import", "a.onnx", "--blueprint", "BP001")
	lines := strings.SplitAfter(exportOf(t, "run-1", nil), "\n")
	for _, test := range []struct {
		line []string
		code int
		want string
	}{
		{[]string{"ready"}, process.ExitFailed, `"ready": false`},
		{[]string{"kernels", "verify", "BP001", "BP404"}, process.ExitFailed, `"verdict": "not in the catalogue"`},
		{[]string{"runs", "replay", exportFile(t, lines[0]+lines[1]+lines[3])}, exitIncomplete, `"missing": [` + "\n"},
		{[]string{"runs", "replay", exportFile(t, "")}, exitIncomplete, "[]"},
	} {
		printed, err := run(t, append(test.line, "--json")...)
		if process.ExitCode(err) != test.code || !json.Valid([]byte(printed)) || !strings.Contains(printed, test.want) {
			t.Errorf("%v: exit code %d, %v: %s", test.line, process.ExitCode(err), err, printed)
		}
	}
}
