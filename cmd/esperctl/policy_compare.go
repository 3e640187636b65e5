package main

import (
	"context"
	"io"
	"maps"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/settings"
)

func newPolicyCompare() *cobra.Command {
	var format terminal.Format
	compare := &cobra.Command{
		Use:   "compare [URL]",
		Short: "Compare the policy in the shadow with what decided, in all runs that the service knows",
		Long: `Compares the policy in the shadow with what decided, in all runs that the service knows: how
often both would have begun the same at a slot, or have had the same become of a living seed.
Without a URL it asks the foundation service at WEATHERLIGHT_HTTP_ADDR.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := weatherlightAt(args)
			if err != nil {
				return err
			}
			compared, err := compareRuns(command.Context(), service)
			if err != nil {
				return err
			}
			return format.Print(command.OutOrStdout(), compared, func(table io.Writer) { comparedTable(table, compared) })
		},
	}
	format.Bind(compare)
	return compare
}

// comparedEntry is what a policy in the shadow came to, as --json prints it.
type comparedEntry struct {
	Policy   string `json:"tamiyo_policy_version"`
	Runs     int    `json:"runs"`
	Agreed   uint64 `json:"agreed"`
	Differed uint64 `json:"differed"`
}

// weatherlightAt is the foundation service of the settings, or the one at the address given.
func weatherlightAt(args []string) (*ask.Service, error) {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return nil, err
	}
	service, err := ask.Weatherlight(resolved)
	if err != nil || len(args) == 0 {
		return service, err
	}
	return service.At(args[0]), nil
}

func compareRuns(ctx context.Context, service *ask.Service) ([]comparedEntry, error) {
	byPolicy := make(map[string]comparedEntry)
	var query url.Values
	for {
		var page struct {
			Runs []string `json:"runs"`
			Next string   `json:"next"`
		}
		if err := service.Get(ctx, "/runs", query, &page); err != nil {
			return nil, err
		}
		for _, run := range page.Runs {
			if err := countRun(ctx, service, run, byPolicy); err != nil {
				return nil, err
			}
		}
		if page.Next == "" {
			break
		}
		query = url.Values{"after": {page.Next}}
	}
	entries := []comparedEntry{}
	for _, version := range slices.Sorted(maps.Keys(byPolicy)) {
		entries = append(entries, byPolicy[version])
	}
	return entries, nil
}

func countRun(ctx context.Context, service *ask.Service, run string, byPolicy map[string]comparedEntry) error {
	var view struct {
		Tamiyo struct {
			Shadow struct {
				Policy           string
				Agreed, Differed uint64
			}
		}
	}
	if err := service.Get(ctx, "/runs/"+url.PathEscape(run), nil, &view); err != nil {
		return err
	}
	shadow := view.Tamiyo.Shadow
	if shadow.Policy == "" {
		return nil
	}
	entry := byPolicy[shadow.Policy]
	entry.Policy, entry.Runs = shadow.Policy, entry.Runs+1
	entry.Agreed, entry.Differed = entry.Agreed+shadow.Agreed, entry.Differed+shadow.Differed
	byPolicy[shadow.Policy] = entry
	return nil
}

func comparedTable(table io.Writer, entries []comparedEntry) {
	terminal.Row(table, "VERSION", "RUNS", "AGREED", "DIFFERED")
	for _, e := range entries {
		terminal.Row(table, e.Policy, e.Runs, e.Agreed, e.Differed)
	}
}
