package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/settings"
)

func newPolicyCompare() *cobra.Command {
	var format terminal.Format
	compare := &cobra.Command{
		Use:   "compare [URL]",
		Short: "Compare the policy in the shadow with what decided, in all runs that the service knows",
		Long: `Compares the policy in the shadow with what decided, in all runs that the service knows: how
often both would have begun the same at a slot. Without a URL it asks the foundation service
at WEATHERLIGHT_HTTP_ADDR.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			asker, err := newRunAsker(args)
			if err != nil {
				return err
			}
			compared, err := asker.compare(command.Context())
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

// maxAnswerBytes bounds one answer.
const maxAnswerBytes = 1 << 20

// runAsker asks a service about its runs.
type runAsker struct{ base, token string }

func newRunAsker(args []string) (runAsker, error) {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return runAsker{}, err
	}
	asker := runAsker{"http://" + string(resolved.Weatherlight.HTTPAddr), resolved.Weatherlight.HTTPToken.Reveal()}
	if len(args) > 0 {
		asker.base = strings.TrimRight(args[0], "/")
	}
	return asker, nil
}

// get reads one answer.
func (a runAsker) get(ctx context.Context, path string, to any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return a.stream(ctx, path, func(body io.Reader) error {
		text, err := io.ReadAll(io.LimitReader(body, maxAnswerBytes))
		if err != nil {
			return fmt.Errorf("read the answer of %s: %w", a.base, err)
		}
		return json.Unmarshal(text, to)
	})
}

func (a runAsker) compare(ctx context.Context) ([]comparedEntry, error) {
	byPolicy := make(map[string]comparedEntry)
	query := ""
	for {
		var page struct {
			Runs []string `json:"runs"`
			Next string   `json:"next"`
		}
		if err := a.get(ctx, "/runs"+query, &page); err != nil {
			return nil, err
		}
		for _, run := range page.Runs {
			if err := a.count(ctx, run, byPolicy); err != nil {
				return nil, err
			}
		}
		if page.Next == "" {
			break
		}
		query = "?" + url.Values{"after": {page.Next}}.Encode()
	}
	entries := []comparedEntry{}
	for _, version := range slices.Sorted(maps.Keys(byPolicy)) {
		entries = append(entries, byPolicy[version])
	}
	return entries, nil
}

func (a runAsker) count(ctx context.Context, run string, byPolicy map[string]comparedEntry) error {
	var view struct {
		Tamiyo struct {
			Shadow struct {
				Policy           string
				Agreed, Differed uint64
			}
		}
	}
	if err := a.get(ctx, "/runs/"+url.PathEscape(run), &view); err != nil {
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
