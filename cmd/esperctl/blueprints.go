package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

func newBlueprints() *cobra.Command {
	blueprints := &cobra.Command{Use: "blueprints", Short: "Look into the blueprint catalogue"}
	var format terminal.Format
	list := &cobra.Command{
		Use:   "list",
		Short: "List the blueprints, and which of them can be compiled for the configured slot",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return withBlueprints(func(s slotted) error { return listBlueprints(s, &format, command.OutOrStdout()) })
		},
	}
	show := &cobra.Command{
		Use:   "show ID",
		Short: "Show one blueprint: what is built, what it costs, and what it needs",
		Args:  cobra.ExactArgs(1),

		ValidArgsFunction: offer(1, blueprintIDs),
		RunE: func(command *cobra.Command, args []string) error {
			return withBlueprints(func(s slotted) error {
				return showBlueprint(command.Context(), s, args[0], &format, command.OutOrStdout())
			})
		},
	}
	format.Bind(list)
	format.Bind(show)
	blueprints.AddCommand(list, show, newBlueprintsChoose())
	return blueprints
}

// slotted is the catalogue seen from one slot.
type slotted struct {
	catalog *karn.Catalog
	slot    tezzeret.Slot

	evidence func(ctx context.Context, id string) (urza.Evidence, error) // nil: there is none
}

// evidence is what the kernel library knows of a blueprint. A library that is not there
// is not made for it.
func evidence(ctx context.Context, set *settings.Settings, id string) (known urza.Evidence, err error) {
	schema, err := urza.InspectSchema(ctx, set.Urza.DatabaseURL.Reveal())
	if err != nil || !schema.Current() {
		return known, err
	}
	library, err := assembly.OpenLibrary(ctx, assembly.Library(set))
	if err != nil {
		return known, err
	}
	known, err = library.Evidence().Of(ctx, id)
	return known, errors.Join(err, library.Close())
}

// withBlueprints calls show for the slot that the settings name.
func withBlueprints(show func(slotted) error) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	if err := assembly.Check(resolved); err != nil {
		return err
	}
	slot, err := tezzeret.NewSlot(resolved.Tezzeret.SlotSizes()...)
	if err != nil {
		return err
	}
	known := func(ctx context.Context, id string) (urza.Evidence, error) { return evidence(ctx, resolved, id) }
	return show(slotted{assembly.Catalog(resolved), slot, known})
}

func listBlueprints(s slotted, format *terminal.Format, out io.Writer) error {
	var entries []blueprintEntry
	for _, d := range s.catalog.List() {
		entries = append(entries, newBlueprintEntry(s.slot, d))
	}
	return format.Print(out, entries, func(table io.Writer) {
		terminal.Row(table, "BLUEPRINT", "NAME", "TIER", "NEEDS", "FOR "+s.slot.String())
		for _, e := range entries {
			terminal.Row(table, e.BlueprintID, e.Name, e.Tier, e.needs(), e.verdict())
		}
	})
}
