package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// complete are what each command needs to be understood, beside the words that name it.
var complete = map[string][]string{
	"alarms ack": {"ID"}, "blueprints show": {"BP001"}, "deadletters purge": {"1-1"}, "deadletters replay": {"1-1"}, "deadletters show": {"1-1"},
	"kernels approve": {"BP001"}, "kernels export": {"BP001", "x.onnx"}, "kernels import": {"x.onnx", "--blueprint", "BP001"},
	"kernels quarantine": {"BP001"}, "kernels show": {"BP001"}, "mode": {"normal", "--reason", "x"}, "policy activate": {"p"}, "policy shadow": {"p"},
	"policy publish": {"x.onnx", "--id", "i", "--policy-version", "v"}, "policy show": {"p"}, "policy train": {"--from", "x.jsonl", "--out", "y.onnx"},
	"runs export": {"r"}, "runs follow": {"r"}, "runs replay": {"r"}, "runs show": {"r"},
	"seeds cull": {"r", "s", "--reason", "x"}, "seeds fossilize": {"r", "s", "--reason", "x"}, "seeds pause": {"r", "s", "--reason", "x"},
	"seeds resume": {"r", "s", "--reason", "x"}, "seeds show": {"r", "s"}, "streams show": {"s"}, "streams groups remove": {"s", "g"},
}

// variadic take any number of arguments.
var variadic = []string{"deadletters purge", "deadletters replay", "kernels verify"}

// wrong are values that no command takes for a flag of a type; they are refused before anybody is asked.
var wrong = map[string][]string{"int": {"x", "-5"}, "uint64": {"x", "-5"}, "uint": {"x", "-5"}, "duration": {"x", "-1s"}, "bool": {"perhaps"}}

// wrongTexts are likewise, of flags that take some words only, or ids.
var wrongTexts = map[string]string{"output": "yaml", "tier": "best", "kind": "nothing", "reason": " "}

// alone moves to an empty folder, where no service and no bus answers.
func alone(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, value := range map[string]string{"REDIS_URL": "redis://127.0.0.1:1/0", "ESPER_LEYLINE_SECRET": letterSecret,
		"NISSA_URL": "http://127.0.0.1:1", "WEATHERLIGHT_HTTP_ADDR": "127.0.0.1:1", "TAMIYO_POLICY_DIR": ""} {
		t.Setenv(name, value)
	}
}

// TestWhatIsNotUnderstoodIsExitTwo: whatever is wrong with a command line, and whichever command
// it is, the code is that of the page, and nobody is asked.
func TestWhatIsNotUnderstoodIsExitTwo(t *testing.T) {
	alone(t)
	refused := func(line ...string) {
		t.Helper()
		_, err := run(t, line...)
		if process.ExitCode(err) != process.ExitConfiguration {
			t.Errorf("esperctl %q: exit code %d: %v", line, process.ExitCode(err), err)
		}
	}
	refused("deadletters", "purge")
	for _, demo := range [][]string{{"--repeats", "0"}, {"--repeats", "1000"}, {"--curve", "none/x.svg"}} {
		refused(append([]string{"demo"}, demo...)...)
	}
	for _, list := range [][]string{{"deadletters", "list"}, {"runs", "list"}, {"events"}} {
		refused(append(list, "--limit", "0")...)
		refused(append(list, "--limit", "1001")...)
	}
	eachCommand(newRoot(), func(command *cobra.Command) {
		name := strings.TrimPrefix(command.CommandPath(), "esperctl ")
		words := strings.Fields(name)
		whole := append(slices.Clone(words), complete[name]...)
		refused(append(slices.Clone(whole), "--no-such-flag")...)
		if needed := complete[name]; len(needed) > 0 && name != "deadletters purge" {
			refused(append(slices.Clone(words), needed[:len(needed)-1]...)...)
		}
		if !slices.Contains(variadic, name) {
			refused(append(slices.Clone(whole), "a", "b", "c")...)
		}
		command.Flags().VisitAll(func(f *pflag.Flag) {
			values := wrong[f.Value.Type()]
			if text, has := wrongTexts[f.Name]; has && (text != " " || f.Annotations[cobra.BashCompOneRequiredFlag] != nil) {
				values = []string{text}
			}
			for _, value := range values {
				refused(append(slices.Clone(whole), "--"+f.Name+"="+value)...)
			}
		})
	})
}

// A setting with a letter too few had no effect on esperctl, and nobody said so.
func TestSettingsThatAreMisspeltAreToldOf(t *testing.T) {
	alone(t)
	t.Setenv("TAMYIO_STALL_EPOCHS", "3")
	if err := os.WriteFile(".env", []byte("KASMNIA_SIGMA=2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		inFile        = "esperctl: there is no setting KASMNIA_SIGMA: is it KASMINA_SIGMA that you mean?\n"
		inEnvironment = "esperctl: there is no setting TAMYIO_STALL_EPOCHS: is it TAMIYO_STALL_EPOCHS that you mean?\n"
	)
	for line, want := range map[string]string{
		"blueprints list":         inFile + inEnvironment,
		"demo --repeats 0":        inEnvironment, // they read no .env file
		"dev --dir .env/no-place": inEnvironment,
	} {
		root, told := newRoot(), new(strings.Builder)
		root.SetArgs(strings.Fields(line))
		root.SetOut(io.Discard)
		root.SetErr(told)
		_ = execute(t.Context(), root) // what comes of it is not asked here
		if told.String() != want {
			t.Errorf("esperctl %s told %q", line, told)
		}
	}
}

// What is named and not there is told of with the command that shows what there is.
func TestWhatIsNotThereSaysWhatIs(t *testing.T) {
	onBus(t)
	for name, value := range map[string]string{"URZA_DATABASE_URL": "", "URZA_ARTIFACT_DIR": "", "URZA_ARTIFACT_URL": ""} {
		t.Setenv(name, value)
	}
	if err := os.WriteFile("a.onnx", []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "kernels", "import", "a.onnx", "--blueprint", "BP001")
	for line, says := range map[string]string{
		"deadletters show 1-1": "esperctl deadletters list", "deadletters show xx": `"xx" is no id`, "deadletters purge 1-1": "esperctl deadletters list",
		"deadletters replay 1-1": "esperctl deadletters list", "kernels show none": "esperctl kernels list", "kernels approve none": "esperctl kernels list",
		"blueprints show none": "esperctl blueprints list", "streams show none": "name one of oona.",
	} {
		if _, err := run(t, strings.Fields(line)...); process.ExitCode(err) != process.ExitFailed || !strings.Contains(err.Error(), says) {
			t.Errorf("esperctl %s: exit code %d: %v", line, process.ExitCode(err), err)
		}
	}
}
