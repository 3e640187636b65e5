package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/esper-lite/weatherlight/settings"
)

// An error says what to do next when it names a command to call, a service to start, a setting to
// set, a flag to give, a page to read, or what else to name. What the system says of a file is none.
var (
	advice = regexp.MustCompile(`[:;,(] ?(or |and )?(esperctl [a-z]+( [a-z]+)* (shows|says|makes|compiles)|esperctl [a-z ]+ --help says more|` +
		`start (Redis|esper-[a-z]+-service)|set [A-Z]+_[A-Z_]+|docs/[a-z/-]+\.md says|name (a|an|one|another) |make the folder |say --[a-z]|try again)`)
	toCall = regexp.MustCompile(`esperctl ([a-z]+(?: [a-z]+)?)`)
	toRead = regexp.MustCompile(`docs/[a-z/-]+\.md`)
	toSet  = regexp.MustCompile(`set ([A-Z]+_[A-Z_]+)`)
)

// advises fails unless an error says what to do next, and that can be done.
func advises(t *testing.T, line []string, err error) {
	t.Helper()
	if err == nil {
		return // it was taken
	}
	text := err.Error()
	if !advice.MatchString(text) || strings.Contains(text, "strconv.") || strings.Contains(text, ".tmp:") {
		t.Errorf("esperctl %q: %s", line, text)
	}
	for _, named := range toCall.FindAllStringSubmatch(text, -1) {
		if found, _, err := newRoot().Find(strings.Fields(named[1])); err != nil || found.Parent() == nil {
			t.Errorf("esperctl %q names a command that there is not: %s", line, text)
		}
	}
	for _, page := range toRead.FindAllString(text, -1) {
		if !slices.Contains(pages, page) {
			t.Errorf("esperctl %q names a page that there is not: %s", line, text)
		}
	}
	known, loaded := settings.Load(settings.Options{SecretOptional: true})
	if loaded != nil {
		t.Fatal(loaded)
	}
	for _, set := range toSet.FindAllStringSubmatch(text, -1) {
		if !slices.ContainsFunc(known.Fields(), func(f settings.Field) bool { return f.Env == set[1] }) {
			t.Errorf("esperctl %q names a setting that there is not: %s", line, text)
		}
	}
}

// pages are those that errors send somebody to.
var pages = []string{"docs/operations/metrics.md", "docs/operations/alarms.md", "docs/operations/alerts-and-objectives.md", "docs/controller.md"}

// isPath says whether a flag takes a file or a folder, and that it is a folder.
func isPath(f *pflag.Flag) (path, folder bool) {
	_, folder = f.Annotations[cobra.BashCompSubdirsInDir]
	_, file := f.Annotations[cobra.BashCompFilenameExt]
	return file || folder, folder
}

// refusedOf are values of flags that a command looks at itself.
var refusedOf = map[string][]string{
	"blueprints choose": {"--tier high_risk"}, "deadletters list": {"--after xx", "--limit 0"}, "demo": {"--repeats 0", "--slot x"},
	"drill": {"--rules plain"}, "events": {"--kind x", "--limit 1001"}, "ready": {"--timeout 0s"}, "runs list": {"-o yaml"}, "top": {"--interval 0s"},
}

// misled are command lines that a person gets wrong, by a path, an id or a flag.
func misled(command *cobra.Command) (lines [][]string) {
	name := strings.TrimPrefix(command.CommandPath(), "esperctl ")
	words := strings.Fields(name)
	whole := append(slices.Clone(words), complete[name]...)
	with := func(more ...string) { lines = append(lines, append(slices.Clone(whole), more...)) }
	with("--no-such-flag")
	with("a", "b", "c", "-x")
	command.Flags().VisitAll(func(f *pflag.Flag) {
		if path, folder := isPath(f); path {
			with("--"+f.Name, "/proc/x")
			with("--"+f.Name, "plain/x")
			if !folder {
				with("--"+f.Name, "none/x")
				with("--"+f.Name, ".")
			}
		}
		for _, value := range wrong[f.Value.Type()] {
			with("--" + f.Name + "=" + value)
		}
	})
	for _, more := range refusedOf[name] {
		with(strings.Fields(more)...)
	}
	for i, word := range complete[name] {
		if strings.HasPrefix(word, "--") {
			break
		}
		values := []string{"nonsense", " ", "\x1b[2J", "../../x"}
		if kind := strings.Fields(command.Use)[i+1]; strings.Contains(kind, "FILE") {
			values = []string{"/proc/x", "plain/x", "none/x", ".", "plain"}
		}
		for _, value := range values {
			line := slices.Clone(whole)
			line[len(words)+i] = value
			lines = append(lines, line)
		}
	}
	return lines
}

// TestErrorsSayWhatToDoNext: whatever somebody gets wrong with whichever command, and whether or not
// anybody answers, the error says what to call, to start, to set or to name.
func TestErrorsSayWhatToDoNext(t *testing.T) {
	file := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	each := func() {
		file("plain", "")
		eachCommand(newRoot(), func(command *cobra.Command) {
			for _, line := range misled(command) {
				_, err := run(t, line...)
				advises(t, line, err)
			}
		})
	}
	alone(t)
	eachCommand(newRoot(), func(command *cobra.Command) {
		name := strings.TrimPrefix(command.CommandPath(), "esperctl ")
		if slices.Contains([]string{"demo", "dev", "drill", "forge"}, name) {
			return // they need nobody, and do all that they can do
		}
		line := append(strings.Fields(name), complete[name]...)
		_, err := run(t, line...)
		advises(t, line, err)
	})
	each()
	onBus(t)
	redis := os.Getenv("REDIS_URL")
	served(t, map[string]string{"/api/alerts": `{"alerts":[]}`, "/api/runs": `{"runs":[]}`, "/runs": `{"runs":[]}`})
	dir, _ := policiesIn(t)
	for name, value := range map[string]string{"REDIS_URL": redis, "TAMIYO_POLICY_DIR": dir, "URZA_DATABASE_URL": "", "URZA_ARTIFACT_DIR": ""} {
		t.Setenv(name, value)
	}
	file("a.onnx", "kernel")
	mustRun(t, "kernels", "import", "a.onnx", "--blueprint", "BP001")
	each()
}
