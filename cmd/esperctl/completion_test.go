package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

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
		"events --kind": "gate", "kernels list --tier": "safe", "kernels list -o": "wide",
	}
	for line, want := range offered {
		printed := mustRun(t, append(append([]string{"__complete"}, strings.Fields(line)...), "")...)
		ids, _, found := strings.Cut(printed, "\n:")
		if !found || ids == "" || !strings.Contains(ids, want) {
			t.Errorf("esperctl %s offers %q", line, printed)
		}
	}
	for _, line := range []string{"workers", "status", "alarms list"} { // which take no argument, and no file
		if printed := mustRun(t, append(append([]string{"__complete"}, strings.Fields(line)...), "")...); !strings.HasPrefix(printed, ":4") {
			t.Errorf("esperctl %s offers %q", line, printed)
		}
	}
	eachCommand(newRoot(), func(command *cobra.Command) {
		name := strings.TrimPrefix(command.CommandPath(), "esperctl ")
		words := strings.Fields(command.Use)[1:]
		if _, tested := offered[name]; !tested && len(words) > 0 && words[0] != "FILE" && words[0] != "[URL]" && !strings.HasPrefix(words[0], "--") {
			t.Errorf("%s is not completed by this test", command.UseLine())
		}
	})
}
