package main

import (
	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
)

func newRuns() *cobra.Command {
	runs := &cobra.Command{Use: "runs", Short: "Look at training runs"}
	runs.AddCommand(look.RunsList(), look.RunsShow(), look.RunsFollow(), look.RunsExport(), newRunsReplay())
	return runs
}
