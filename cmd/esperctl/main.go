// Command esperctl is the newcomer's and the operator's tool: it runs the demo,
// forges kernels and shows what the kernel library holds.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/demo"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

const name = "esperctl"

func main() {
	process.DieBySignal()
	ctx, release := process.OnSignal(context.Background(), func() { os.Exit(process.ExitFailed) })
	err := newRoot().ExecuteContext(ctx)
	release()
	if err != nil {
		process.Report(os.Stderr, name, err)
	}
	os.Exit(process.ExitCode(err))
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           name,
		Short:         "Run and look after an Esper-Lite foundation",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       process.Version(name),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(newBlueprints(), newDeadLetters(), demo.New(), newDrill(), newForge(), newKernels(), newPolicy(), newReady())
	return root
}
