package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/nissa/drill"
)

func newDrill() *cobra.Command {
	var file string
	var within time.Duration
	command := &cobra.Command{
		Use:   "drill",
		Short: "Raise and clear every alert rule, on a bus of its own",
		Long: `Raises and clears every rule and every objective of a file end to end: packets go over an
embedded bus to a Nissa in this process, and notifications to a listener that stands for every
receiver. Nobody outside hears of it. Hold times are shortened to half a second, and quiet times
to one. Then it says what arrived where and how fast.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDrill(cmd.Context(), cmd.OutOrStdout(), file, within)
		},
	}
	command.Flags().StringVar(&file, "rules", "", "file of rules, as NISSA_RULES_FILE names one; without, the shipped one")
	_ = command.MarkFlagFilename("rules", "yml", "yaml") // it is there
	command.Flags().DurationVar(&within, "timeout", 20*time.Second, "how long an alert, or its end, may take to arrive")
	return command
}

func runDrill(ctx context.Context, out io.Writer, file string, within time.Duration) error {
	text, folder := nissa.ShippedRules(nissa.Thresholds{}), ""
	if file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return process.CannotRead(file, err)
		}
		folder = filepath.Dir(file)
	}
	results, err := drill.Run(ctx, drill.Config{Rules: text, Folder: folder, Patience: within})
	if err != nil && file != "" {
		return fmt.Errorf("%s: %w: docs/operations/alerts-and-objectives.md says how rules are written", file, err)
	}
	if err != nil {
		return err
	}
	return printDrill(out, results)
}

func printDrill(out io.Writer, results []drill.Result) error {
	arrived := 0
	err := terminal.Table(out, false, func(table io.Writer) {
		terminal.Row(table, "RULE", "RAISED", "CLEARED", "ARRIVED AT")
		for _, r := range results {
			if r.Fault != "" {
				terminal.Row(table, r.Rule, "-", "-", "FAILED")
				continue
			}
			arrived++
			terminal.Row(table, r.Rule, terminal.Milliseconds(r.Raised), terminal.Milliseconds(r.Cleared), strings.Join(r.Receivers, ", "))
		}
		for _, r := range results {
			if r.Fault != "" {
				terminal.Row(table, r.Rule+" FAILED: "+r.Fault)
			}
		}
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "RESULT drill rules=%d arrived=%d\n", len(results), arrived); err != nil {
		return err
	}
	if arrived < len(results) {
		return fmt.Errorf("%d of %d rules did not arrive and end", len(results)-arrived, len(results))
	}
	return nil
}
