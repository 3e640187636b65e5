package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/esper-lite/weatherlight/oona"
)

// TestIDsAreCompleted: what a command acts on can be chosen from what there is.
func TestIDsAreCompleted(t *testing.T) {
	tabled(t)
	kernel, seed := "BP-"+long, "seed-"+long
	offered := map[string]string{
		"alarms ack": "0011223344556677", "blueprints show": "BP009",
		"kernels show": kernel, "kernels verify": kernel, "kernels export": kernel, "kernels approve": kernel, "kernels quarantine": kernel,
		"deadletters show": "-0", "deadletters replay": "-0", "deadletters purge": "-0", "policy show": "", "policy shadow": "", "policy activate": "",
		"runs show": long, "runs follow": long, "runs export": long, "runs replay": long,
		"seeds show": long, "seeds cull": long, "seeds pause": long, "seeds resume": long, "seeds fossilize": long,
		"streams show": oona.DefaultStreams().Normal, "streams groups remove": oona.DefaultStreams().Normal, "mode": "conservative",
		"seeds list --run": long, "events --run": long, "mode normal --run": long, "events --run " + long + " --seed": seed, "seeds cull " + long: seed,
		"events --seed": seed, "runs list -o": "json", "deadletters list --stream": oona.DefaultStreams().Normal,
		"deadletters list --group": "weatherlight", "deadletters list --reason": "permanent", "deadletters list --after": "-0",
		"kernels import x.pt --blueprint": "BP009", "blueprints choose --context": long, "policy publish --run": long,
		"events --kind": "gate", "kernels list --tier": "safe", "kernels list -o": "wide",
	}
	for line, want := range offered {
		printed := mustRun(t, append(append([]string{"__complete"}, strings.Fields(line)...), "")...)
		ids, _, found := strings.Cut(printed, "\n:")
		if !found || ids == "" || !strings.Contains(ids, want) {
			t.Errorf("esperctl %s offers %q", line, printed)
		}
	}
	if printed := mustRun(t, "__complete", "kernels", "import", "x.pt", "--blueprint", ""); !strings.Contains(printed, kernel) {
		t.Errorf("kernels import --blueprint offers %q", printed)
	}
	eachCommand(newRoot(), func(command *cobra.Command) {
		name := strings.TrimPrefix(command.CommandPath(), "esperctl ")
		words := strings.Fields(command.Use)[1:]
		if _, tested := offered[name]; !tested && len(words) > 0 && words[0] != "FILE" && words[0] != "[URL]" && !strings.HasPrefix(words[0], "--") {
			t.Errorf("%s is not completed by this test", command.UseLine())
		}
	})
}

// TestFilesAreOfferedWhereFilesAreTaken: whatever else is to be completed, nobody is offered the names of
// what lies in his folder.
func TestFilesAreOfferedWhereFilesAreTaken(t *testing.T) {
	alone(t)
	none := fmt.Sprintf(":%d\n", cobra.ShellCompDirectiveNoFileComp)
	files := func(t *testing.T, wanted bool, line ...string) {
		t.Helper()
		printed := mustRun(t, append([]string{"__complete"}, line...)...)
		if offers := !strings.HasSuffix(printed, none); offers != wanted {
			t.Errorf("esperctl %q offers files: %v\n%s", line, offers, printed)
		}
	}
	eachCommand(newRoot(), func(command *cobra.Command) {
		if command.Parent().Name() == "completion" {
			return
		}
		words := strings.Fields(command.CommandPath())[1:]
		args := slices.Clone(words)
		for _, kind := range append(strings.Fields(command.Use)[1:], "") {
			files(t, strings.Contains(kind, "FILE"), append(slices.Clone(args), "")...)
			if strings.HasPrefix(kind, "-") {
				break
			}
			args = append(args, "x")
		}
		command.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "bool" {
				path, _ := isPath(f)
				files(t, path, append(slices.Clone(words), "--"+f.Name, "")...)
			}
		})
	})
}
