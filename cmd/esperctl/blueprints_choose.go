package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/karn"
)

func newBlueprintsChoose() *cobra.Command {
	var format terminal.Format
	var tier tierFlag
	var query karn.Query
	command := &cobra.Command{
		Use:   "choose",
		Short: "Choose the blueprint that a context is given",
		Long: `Chooses one blueprint for a context, such as the name of a run: equal contexts choose
equal blueprints, in every process. One that needs a permission is only handed out when
KARN_APPROVED or KARN_QUARANTINE_GRANT names it.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			query.Tier = tier.tier
			return withBlueprints(func(s slotted) error {
				return chooseBlueprint(command.Context(), s, query, &format, command.OutOrStdout())
			})
		},
	}
	format.Bind(command)
	command.Flags().StringVar(&query.Context, "context", "", "what to choose for; none chooses the first")
	_ = command.RegisterFlagCompletionFunc("context", offerRuns) // it is there
	tier.bind(command, "only this tier")
	command.Flags().BoolVar(&query.Conservative, "conservative", false, "only the first ten safe ones")
	command.Flags().BoolVar(&query.AllowAdversarial, "adversarial", false, "high-risk ones, too")
	return command
}

func chooseBlueprint(ctx context.Context, s slotted, query karn.Query, format *terminal.Format, out io.Writer) error {
	chosen, err := s.catalog.Select(ctx, karn.Request{Query: query})
	if err != nil {
		return err
	}
	e := newBlueprintEntry(s.slot, chosen)
	return format.Print(out, e, func(table io.Writer) { terminal.Row(table, e.BlueprintID+"  "+e.Name) })
}
